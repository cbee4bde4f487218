"""The freezer: asks the dataset service for the version each waiting task needs. That it is there is heard as a fact."""

import asyncio
import contextlib
import time

from libs.runtime.delivery import growing_delay
from libs.runtime.errors import Conflict, Expired, Fault, Internal, NoReadyInstance, QueueFull
from libs.runtime.logs import get_logger
from services.trainer.deps import Deps
from services.trainer.domain import Task, TaskState
from services.trainer.events import put_task

log = get_logger()

TICK_SECONDS = 1.0
MAX_DELAY_SECONDS = 30.0
ASK_AGAIN_SECONDS = 60.0
"""A version that was asked for and not heard of so long is asked for once more; the same request id never makes two."""
PASSING = (NoReadyInstance, Expired, Conflict, QueueFull, Internal)


class Freezer:
    """Minds tasks that wait for a version; after a restart it asks again."""

    name = "freezer"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Ask until ``stopping`` is set."""
        while not stopping.is_set():
            self._deps.task_created.clear()
            await self.ask_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._deps.task_created.wait()

    async def ask_all(self) -> None:
        """Ask for each waiting task whose time has come."""
        async with self._deps.work(read_only=True) as w:
            waiting = await w.tasks.waiting_for_version()
            origins = {task.uid: await w.origin_of(task.uid) for task in waiting}
        self._due = {task.uid: self._due.get(task.uid, 0.0) for task in waiting}
        self._failures = {task.uid: self._failures.get(task.uid, 0) for task in waiting}
        for task in waiting:
            if self._due[task.uid] <= time.monotonic():
                with origins[task.uid].continued():
                    await self._ask(task)

    async def _ask(self, task: Task) -> None:
        try:
            await self._deps.datasets.freeze(task.order.dataset, further=task.order.datasets[1:], request_id=task.uid)
        except PASSING as fault:
            self._failures[task.uid] += 1
            delay = growing_delay(self._failures[task.uid], maximum_seconds=MAX_DELAY_SECONDS)
            self._due[task.uid] = time.monotonic() + delay
            log.warning("freeze_waits", task=task.name, message=fault.message, seconds=delay)
        except Fault as fault:
            log.warning("freeze_refused", task=task.name, message=fault.message)
            await self._fail(task, fault)
        else:
            self._due[task.uid] = time.monotonic() + ASK_AGAIN_SECONDS
            log.info("freeze_asked", task=task.name, dataset=task.order.dataset)

    async def _fail(self, task: Task, fault: Fault) -> None:
        async with self._deps.work() as w:
            current = await w.tasks.get(task.name)
            if current.state is TaskState.PENDING and not current.version:
                reason = f"The dataset could not be frozen: {fault.message}"
                failed = current.fail(None, reason, at=w.now)
                await put_task(w, failed, before=current)
                await w.logs.append(failed, "", [("error", reason)], at=w.now)
                await w.commit()
