"""A place for one instance: at most one living process, and the memory of how the last ones died."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from services.inference.domain import Reason, Trouble
from services.inference.instance_process import InstanceProcess
from services.inference.instances import InstanceState, Report, Restarts
from services.inference.placement import Assignment

Launch = Callable[[Assignment, Path, Callable[[], None]], InstanceProcess]
"""Makes the process object of an instance that is about to start; the last argument is called whenever something about it changed."""


class Slot:
    """What a host has for one assignment.

    Args:
        assignment: what is to run.
        first_delay_seconds: see ``Restarts``.
        is_vacated: nothing is to run here any more.
    """

    def __init__(self, assignment: Assignment, first_delay_seconds: float, *, is_vacated: bool) -> None:
        self._assignment = assignment
        self._restarts = Restarts(first_delay_seconds)
        self._process: InstanceProcess | None = None
        self._dead: InstanceProcess | None = None
        """The last one that died by itself."""
        self._is_vacated = is_vacated

    @property
    def is_empty(self) -> bool:
        """Whether no process lives here."""
        return not self.processes()

    @property
    def has_left(self) -> bool:
        """Whether nothing is to run here and nothing does."""
        return self._is_vacated and self.is_empty

    def processes(self) -> list[InstanceProcess]:
        """The process that lives here, if any does."""
        return [self._process] if self._process is not None and not self._process.has_ended else []

    def notice_end(self, now: float) -> None:
        """If its process has died by itself, note that."""
        if self._process is not None and self._process.has_ended and not self._is_vacated:
            self._restarts = self._restarts.died(ready_seconds=self._process.ready_seconds, now=now)
            self._dead, self._process = self._process, None

    def is_due(self, now: float) -> bool:
        """Whether a process should be started now."""
        return self._process is None and not self._is_vacated and now >= self._restarts.not_before

    def start(self, launch: Launch, bundle: Path, wake: Callable[[], None], tasks: asyncio.TaskGroup) -> None:
        """Start a process beside the caller."""
        self._process = launch(self._assignment, bundle, wake)
        tasks.create_task(self._process.run(), name=f"instance-{self._process.orders.instance_id}")

    def vacate(self, tasks: asyncio.TaskGroup) -> None:
        """Have its process finish what it holds and end; again is fine."""
        if not self._is_vacated:
            self._is_vacated = True
            for process in self.processes():
                tasks.create_task(process.drain(), name=f"drain-{process.orders.instance_id}")

    def report(self, bundle_trouble: Trouble | None, now: float) -> Report:
        """What others are told.

        Args:
            bundle_trouble: why the bundle it needs cannot be had.
            now: of the clock that ``is_due`` is asked with.
        """
        shown = self._process or self._dead
        return Report(
            view=None if shown is None else shown.view(),
            warm_up_error=self._process.warm_up_error if self._process else "",
            trouble=self._crash_loop() or (bundle_trouble if self.is_due(now) else None),
        )

    def _crash_loop(self) -> Trouble | None:
        is_ready = self._process is not None and self._process.state is InstanceState.READY
        if not self._restarts.is_crash_loop or self._dead is None or is_ready:
            return None
        message = f"An instance died {self._restarts.num_quick_deaths} times in a row soon after its start; it is tried again slowly."
        return Trouble(Reason.CRASH_LOOP, f"{message} Its last lines:\n{self._dead.last_error}")
