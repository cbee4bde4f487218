"""The instances of one deployment: as many slots as are wanted, in each at most one living process."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from services.inference.domain import Deployment, Observed, Reason, Trouble
from services.inference.instance_process import InstanceProcess
from services.inference.instances import InstanceState, InstanceView, Restarts

Launch = Callable[[Deployment, Path], InstanceProcess]
"""Makes the process object of an instance that is about to start."""


class Slot:
    """A place for one instance; remembers how the last ones died.

    Args:
        first_delay_seconds: see ``Restarts``.
    """

    def __init__(self, first_delay_seconds: float) -> None:
        self.restarts = Restarts(first_delay_seconds)
        self.process: InstanceProcess | None = None
        self.dead: InstanceProcess | None = None
        """The last one that died by itself."""

    def notice_end(self, now: float) -> None:
        """If its process has died, note that."""
        if self.process is not None and self.process.has_ended:
            self.restarts = self.restarts.died(ready_seconds=self.process.ready_seconds, now=now)
            self.dead, self.process = self.process, None

    def is_due(self, now: float) -> bool:
        """Whether a process should be started now."""
        return self.process is None and now >= self.restarts.not_before

    @property
    def is_ready(self) -> bool:
        """Whether its process answers."""
        return self.process is not None and self.process.state is InstanceState.READY

    def runs(self, bundle_digest: str) -> bool:
        """Whether its process has that bundle."""
        return self.process is not None and self.process.orders.bundle_digest == bundle_digest


class Fleet:
    """Slots, and the processes that were told to end and have not yet.

    Args:
        launch: makes a process object.
        first_delay_seconds: see ``Restarts``.
    """

    def __init__(self, launch: Launch, *, first_delay_seconds: float) -> None:
        self._launch = launch
        self._first_delay_seconds = first_delay_seconds
        self._slots: list[Slot] = []
        self._draining: list[InstanceProcess] = []

    @property
    def is_empty(self) -> bool:
        """Whether no process lives."""
        return not self.processes()

    def steer(self, deployment: Deployment, tasks: asyncio.TaskGroup) -> None:
        """Bring slots and living processes nearer to what is wanted; what is missing is started by ``fill``."""
        now = time.monotonic()
        self._draining = [process for process in self._draining if not process.has_ended]
        for slot in self._slots:
            slot.notice_end(now)
        while len(self._slots) > deployment.wanted_instances:
            self._vacate(self._slots.pop(), tasks)
        while len(self._slots) < deployment.wanted_instances:
            self._slots.append(Slot(self._first_delay_seconds))
        outdated = [slot for slot in self._slots if slot.process and not slot.runs(deployment.bundle_digest)]
        if outdated and all(slot.is_ready for slot in self._slots if slot not in outdated):
            # One after the other: the rest answers meanwhile.
            self._vacate(outdated[0], tasks)

    @property
    def needs_bundle(self) -> bool:
        """Whether a slot waits for a process now."""
        now = time.monotonic()
        return any(slot.is_due(now) for slot in self._slots)

    def fill(self, deployment: Deployment, bundle: Path, tasks: asyncio.TaskGroup) -> None:
        """Start a process in each slot that waits for one."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.is_due(now):
                slot.process = self._launch(deployment, bundle)
                tasks.create_task(slot.process.run(), name=f"instance-{slot.process.orders.instance_id}")

    def forgive(self) -> None:
        """Forget past deaths: somebody asked to start again."""
        for slot in self._slots:
            slot.restarts, slot.dead = Restarts(self._first_delay_seconds), None

    def observe(self, deployment: Deployment, bundle_trouble: Trouble | None) -> Observed:
        """What the deployment is to be judged by."""
        ready = [slot.process for slot in self._slots if slot.process and slot.is_ready and slot.runs(deployment.bundle_digest)]
        warm_up_errors = [process.warm_up_error for process in ready if process.warm_up_error]
        return Observed(
            num_ready=len(ready),
            num_others=len(self.processes()) - len(ready),
            warm_up_error=warm_up_errors[0] if warm_up_errors else "",
            trouble=self._crash_loop() or (bundle_trouble if self.needs_bundle else None),
        )

    def views(self) -> list[InstanceView]:
        """Every instance that is worth telling of: the living, and the dead that wait to be replaced."""
        dead = [slot.dead for slot in self._slots if slot.dead and not slot.process]
        return [process.view() for process in (*self.processes(), *dead)]

    def ready_endpoint(self, bundle_digest: str) -> str | None:
        """``host:port`` of the ready instance with the least work, or ``None``."""
        ready = [view for view in self.views() if view.state is InstanceState.READY and view.bundle_digest == bundle_digest]
        return min(ready, key=lambda view: view.num_in_flight).endpoint if ready else None

    def processes(self) -> list[InstanceProcess]:
        """Every process that lives."""
        known = [*(slot.process for slot in self._slots if slot.process), *self._draining]
        return [process for process in known if not process.has_ended]

    def _vacate(self, slot: Slot, tasks: asyncio.TaskGroup) -> None:
        process, slot.process = slot.process, None
        if process is not None and not process.has_ended:
            self._draining.append(process)
            tasks.create_task(process.drain(), name=f"drain-{process.orders.instance_id}")

    def _crash_loop(self) -> Trouble | None:
        for slot in self._slots:
            if slot.restarts.is_crash_loop and slot.dead and not slot.is_ready:
                times, last_lines = slot.restarts.num_quick_deaths, slot.dead.last_error
                message = f"An instance died {times} times in a row soon after its start; it is tried again slowly. Its last lines:"
                return Trouble(Reason.CRASH_LOOP, f"{message}\n{last_lines}")
        return None
