"""The host: keeps alive the instances that this process was assigned, and says what they are like."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from libs.runtime.errors import Conflict, NoReadyInstance
from libs.runtime.logs import get_logger
from libs.runtime.waiting import first_of
from services.inference.bundles import BundleCache
from services.inference.instance_process import InstanceProcess
from services.inference.placement import Assignment, HostView
from services.inference.slot import Launch, Slot
from services.inference.store import Work

log = get_logger()

TICK_SECONDS = 0.5
BEAT_SECONDS = 2.0


class Host:
    """One task looks at its assignments after every event and every tick, and never waits for a process or a download.

    While the database is away its instances live on. Those of a process of the same name before this one died with it.

    Args:
        work: units of work.
        view: this host, as the others see it.
        launch: makes the process object of an instance.
        bundles: gives files; wakes this host.
        wake: called when what it said has changed.
        is_alone: the database has no other process to see its beats.
        restart_seconds: first delay after an instance's death.
        handover_seconds: how long it waits for others to take over once it is being stopped.
    """

    name = "host"

    def __init__(
        self,
        work: Work,
        view: HostView,
        launch: Launch,
        bundles: BundleCache,
        wake: Callable[[], None],
        *,
        is_alone: bool,
        restart_seconds: float,
        handover_seconds: float,
    ) -> None:
        self._work = work
        self._view = view
        self._launch = launch
        self._bundles = bundles
        self._tell = wake
        self._is_alone = is_alone
        self._restart_seconds = restart_seconds
        self._handover_seconds = handover_seconds
        self._slots: dict[str, Slot] = {}
        self._beaten = 0.0
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something changed: look soon."""
        self._woken.set()

    async def register(self) -> None:
        """Be known, and forget what a process before this one was assigned."""
        async with self._work() as w:
            await w.hosts.remove("" if self._is_alone else self._view.name)
            await w.hosts.put(self._view)
            await w.commit()

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep instances alive until ``stopping`` is set, have others take over, then drain what is left; the caller bounds that."""
        async with asyncio.TaskGroup() as tasks:
            while not stopping.is_set():
                await self._turn(tasks)
                await first_of(self._woken, stopping, timeout_seconds=TICK_SECONDS)
            await self._hand_over(tasks)
            for slot in self._slots.values():
                slot.vacate(tasks)

    async def stop_children(self, grace_seconds: float) -> None:
        """End every process that is still there."""
        await asyncio.gather(*(process.end(grace_seconds) for process in self._processes()))

    async def _turn(self, tasks: asyncio.TaskGroup) -> None:
        self._woken.clear()
        try:
            await self._beat()
            async with self._work(read_only=True) as w:
                assignments = {each.assignment_id: each for each in await w.assignments.all(host=self._view.name)}
                in_use = {deployment.bundle_digest for deployment in await w.deployments.all()}
            self._steer(assignments, tasks)
            await self._report(assignments)
            self._bundles.trim(in_use | {each.bundle_digest for each in assignments.values()})
        except (NoReadyInstance, Conflict) as fault:
            log.warning("host_waits", error=fault.message)

    async def _beat(self) -> None:
        if self._is_alone or time.monotonic() - self._beaten < BEAT_SECONDS:
            return
        self._view = replace(self._view, beat=self._view.beat + 1)
        async with self._work() as w:
            await w.hosts.put(self._view)
            await w.commit()
        self._beaten = time.monotonic()

    def _steer(self, assignments: dict[str, Assignment], tasks: asyncio.TaskGroup) -> None:
        now = time.monotonic()
        for assignment_id, slot in list(self._slots.items()):
            slot.notice_end(now)
            assignment = assignments.get(assignment_id)
            if assignment is None or assignment.is_leaving:
                slot.vacate(tasks)
            if assignment is None and slot.is_empty:
                del self._slots[assignment_id]
        for assignment_id, assignment in assignments.items():
            if assignment_id not in self._slots:
                # What failed before counts for those who were there before.
                self._bundles.forgive(assignment.bundle_digest)
                self._slots[assignment_id] = Slot(assignment, self._restart_seconds, is_vacated=assignment.is_leaving)
            slot = self._slots[assignment_id]
            if slot.is_due(now):
                bundle = self._bundles.path(assignment.bundle_digest, tasks)
                if bundle is not None:
                    slot.start(self._launch, bundle, self.wake, tasks)

    async def _report(self, assignments: dict[str, Assignment]) -> None:
        now = time.monotonic()
        changed = {
            assignment_id: report
            for assignment_id, assignment in assignments.items()
            if (report := self._slots[assignment_id].report(self._bundles.trouble(assignment.bundle_digest), now)) != assignment.report
        }
        ended = [assignment_id for assignment_id in assignments if self._slots[assignment_id].has_left]
        if not changed and not ended:
            return
        async with self._work() as w:
            for assignment_id, report in changed.items():
                await w.assignments.report(assignment_id, report)
            for assignment_id in ended:
                await w.assignments.remove(assignment_id)
            await w.commit()
        self._tell()

    async def _hand_over(self, tasks: asyncio.TaskGroup) -> None:
        end = time.monotonic() + self._handover_seconds
        try:
            async with self._work() as w:
                others = [host for host in await w.hosts.all() if host.name != self._view.name and not host.is_leaving]
                self._view = replace(self._view, is_leaving=bool(others))
                await w.hosts.put(self._view)
                await w.commit()
            while others and self._slots and time.monotonic() < end:
                await self._turn(tasks)
                await first_of(self._woken, timeout_seconds=TICK_SECONDS / 2)
            log.info("host_leaves", num_left=len(self._slots))
            async with self._work() as w:
                await w.hosts.remove(self._view.name)
                await w.commit()
        except (NoReadyInstance, Conflict) as fault:
            log.warning("host_leaves_unsaid", error=fault.message)

    def _processes(self) -> list[InstanceProcess]:
        return [process for slot in self._slots.values() for process in slot.processes()]
