"""The worker: takes nodes from the work queue and minds the child that runs each. Nothing here touches torch."""

import asyncio
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from inkwright.trainer.v1 import trainer_events_pb2
from libs.ocrkit.bundle import SUFFIX
from libs.runtime import call_context, logs, traces
from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.caller import Caller
from libs.runtime.child import Child, Exit
from libs.runtime.errors import Conflict, Expired, Fault, NoReadyInstance, WrongState
from libs.runtime.names import MODEL
from libs.runtime.settings import CHECKOUT
from libs.runtime.work_queue import Job, WorkQueue
from services.trainer.bundles import fetch_bundle, keep_bundle
from services.trainer.deps import Deps
from services.trainer.domain import CPU, Task
from services.trainer.events import job_subject
from services.trainer.graph import NodeId
from services.trainer.node_actions import Hold, Made, Said, begin_node, fail_node, is_held, leave_node, note, succeed_node
from services.trainer.nodes.spec import NodeSpec, read_json

log = logs.get_logger()

PULL_SECONDS = 1.0
LOOK_SECONDS = 0.25
"""How often a worker looks whether its child may go on."""
NOTE_SECONDS = 1.0
"""How often progress is written down and told."""
CHILD_GRACE_SECONDS = 1.5
"""Together with ``LOOK_SECONDS`` well under the 5 s a person waits for a termination."""
TAKEN_SECONDS = LOOK_SECONDS + CHILD_GRACE_SECONDS + 1.0
"""A worker that was only cut off from the bus has stopped its child by then: two children must not write into one folder."""
RETRY_SECONDS = 5.0
PASSING = (NoReadyInstance, Expired, Conflict)
"""Of the database: the task is no worse for it, the node is tried again."""
KEPT_STDERR_LINES = 30
NODE_TOKEN_SECONDS = 86400
"""Longer than any node fetches images."""


class ChildVanished(Exception):
    """A node's process was killed, by the kernel perhaps because memory ran out; nothing says that the node cannot be done."""


class NodeWorker:
    """Runs one node at a time.

    The job's lease is kept while the child runs. When this process dies the child dies with it, the lease runs out, and the job comes
    to whoever pulls next, in this process or in a replica that shares the folder.
    """

    def __init__(self, deps: Deps, bus: Bus, *, number: int) -> None:
        self.name = f"node-worker-{number}"
        self._deps = deps
        self._queue = WorkQueue(
            bus,
            stream="JOBS_TRAIN",
            subject=job_subject(CPU),
            order=trainer_events_pb2.NodeJob,
            lease_seconds=deps.settings.trainer_lease_seconds,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Take jobs until ``stopping`` is set; a node in hand is stopped then and goes back into the queue."""
        while not stopping.is_set():
            try:
                job = await self._queue.pull(wait_seconds=PULL_SECONDS)
                if job is not None:
                    with (
                        job.origin.continued(),
                        logs.bind(resource=job.order.task, node=job.order.node_id),
                        traces.span(f"run {job.order.node_id}", traces.Kind.CONSUMER, job.attributes),
                    ):
                        await self._take(job, stopping)
            except BUS_ERRORS as error:
                log.warning("worker_waits", error=repr(error))
                await asyncio.sleep(PULL_SECONDS)

    async def _take(self, job: Job[trainer_events_pb2.NodeJob], stopping: asyncio.Event) -> None:
        try:
            node_id = NodeId(job.order.node_id)
        except ValueError as error:
            # Queued by another version of this program.
            await job.dead(repr(error))
            return
        async with job.held():
            try:
                hold = await begin_node(self._deps, job.order.task, node_id, first_delivery=job.num_tries == 1)
                if hold is not None:
                    await NodeRun(self._deps, hold).run(stopping)
            except ChildVanished as vanished:
                log.warning("node_vanished", how=str(vanished))
                await job.retry(RETRY_SECONDS)
                return
            except Exception as error:
                log.error("node_interrupted", error=repr(error), exc_info=error)
                await job.retry(RETRY_SECONDS)
                return
        if stopping.is_set():
            await job.retry(0)
        else:
            await job.done()


class NodeRun:
    """One try of one node: its child, and what the child said."""

    def __init__(self, deps: Deps, hold: Hold) -> None:
        self._deps = deps
        self._hold = hold
        self._said = Said()
        self._failure = ""
        self._stderr: list[str] = []
        self._spec = node_spec(deps, hold)

    async def run(self, stopping: asyncio.Event) -> None:
        """Run the child to its end and write down how it ended.

        Raises:
            NoReadyInstance, Expired, Conflict: the database could not be asked; the child is stopped, the node as it was.
            ChildVanished: a signal ended it that was not ours; the node is to be tried again.
        """
        began = time.monotonic()
        log.info("node_started", attempt=self._hold.attempt)
        try:
            if self._hold.was_taken:
                await asyncio.sleep(TAKEN_SECONDS)
            for base, file in self._spec.bases.items():
                await fetch_bundle(self._deps.artifacts, self._hold.bases[base], Path(file))
            task = await self._run_child(stopping)
        except WrongState:
            # Somebody ended the task, or took the node, between two looks.
            task = await leave_node(self._deps, self._hold, self._taken(), requeue=False)
        except PASSING:
            raise
        except Fault as fault:
            task = await fail_node(self._deps, self._hold, self._taken(), fault.message)
        except OSError as error:
            # A full disk, or a work folder that somebody took away: the next task may do better.
            task = await fail_node(self._deps, self._hold, self._taken(), f"Its files cannot be written: {error}")
        log.info("node_finished", state=task.node(self._hold.node_id).state, seconds=round(time.monotonic() - began, 3))
        if task.has_ended:
            await remove_work_folder(self._deps, task)
            log.info("task_ended", state=task.state)

    async def _run_child(self, stopping: asyncio.Event) -> Task:
        child = await Child.start(
            [sys.executable, "-m", "services.trainer.node_main"],
            name=f"node-{self._hold.node_id}",
            orders=self._spec.to_json(),
            # Threads that wait asleep: on 2 cores shared with other work a training took 82 s for 174 s, and 12 s of CPU for 36.
            env={"OMP_NUM_THREADS": str(self._spec.num_threads), "OMP_WAIT_POLICY": "PASSIVE"},
            cwd=CHECKOUT,
            log_line=self._note_stderr,
        )
        try:
            ended = await self._mind(child, stopping)
            if ended is not None:
                return await self._end(ended)
            await child.terminate(CHILD_GRACE_SECONDS)
            return await leave_node(self._deps, self._hold, self._taken(), requeue=stopping.is_set())
        finally:
            await child.terminate(0)

    async def _mind(self, child: Child, stopping: asyncio.Event) -> Exit | None:
        """Follow the child to its end; ``None`` when it has to be stopped first."""
        reading = asyncio.create_task(self._read(child), name="node-events")
        stop = asyncio.create_task(stopping.wait(), name="node-stop")
        noted = time.monotonic()
        try:
            while not reading.done():
                await asyncio.wait([reading, stop], timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if stop.done() or not await is_held(self._deps, self._hold):
                    return None
                if time.monotonic() - noted >= NOTE_SECONDS:
                    noted = time.monotonic()
                    await note(self._deps, self._hold, self._taken())
            await reading
            return await child.wait()
        finally:
            for task in (reading, stop):
                task.cancel()
            await asyncio.wait([reading, stop])

    async def _end(self, ended: Exit) -> Task:
        if not ended.ok:
            self._said.lines += [("error", line) for line in self._stderr]
            if ended.signal_name and not self._failure:
                # The next try finds its checkpoints; begin_node counts such ends and gives up at last.
                self._said.lines.append(("warning", f"Its process ended with {ended}; it is tried again in {RETRY_SECONDS:g} s"))
                await note(self._deps, self._hold, self._taken())
                raise ChildVanished(str(ended))
            return await fail_node(self._deps, self._hold, self._taken(), self._failure or self._unexplained(ended))
        match self._hold.node_id:
            case NodeId.PREFLIGHT:
                return await succeed_node(self._deps, self._hold, self._taken(), base=read_json(self._spec.base_file)["base"])
            case NodeId.GATE:
                made = Made.read(await keep_bundle(self._deps.artifacts, self._spec.bundle_file), self._spec)
                return await succeed_node(self._deps, self._hold, self._taken(), made=made)
            case _:
                return await succeed_node(self._deps, self._hold, self._taken())

    def _unexplained(self, ended: Exit) -> str:
        last = next((line for line in reversed(self._stderr) if line.strip()), "")
        return f"Its process ended with {ended}" + (f": {last}" if last else "") + "; the task's log has its last lines."

    async def _read(self, child: Child) -> None:
        async for event in child.events():
            self._hear(event)

    def _hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "progress", "fraction": fraction, "message": message, "measures": measures}:
                self._said.fraction = fraction
                self._said.message = message or self._said.message
                self._said.measures.update(measures)
            case {"type": "log", "level": level, "message": message}:
                self._said.lines.append((level, message))
            case {"type": "info", "values": values}:
                self._said.info.update(values)
            case {"type": "failure", "reason": reason, "message": message}:
                self._failure = message
                log.warning("node_failed", reason=reason, message=message)
            case _:
                log.warning("node_event_unknown", content=event)

    def _note_stderr(self, line: str) -> None:
        self._stderr.append(line)
        del self._stderr[:-KEPT_STDERR_LINES]
        log.debug("node_line", line=line)

    def _taken(self) -> Said:
        """What was said since the last time; measures and progress are kept, they are states and no events."""
        said = self._said
        self._said = Said(said.fraction, said.message)
        return said


def node_spec(deps: Deps, hold: Hold) -> NodeSpec:
    """The orders of a try."""
    task = hold.task
    folder = deps.settings.task_folder / task.uid
    return NodeSpec(
        node_id=hold.node_id,
        task=task.name,
        version=task.version,
        dataset_address=deps.settings.dataset_address,
        access_token=deps.trust.key.sign(Caller("services/trainer", frozenset({"VIEW"})), seconds=NODE_TOKEN_SECONDS),
        tls=deps.settings.tls_files and tuple(map(str, deps.settings.tls_files)),
        folder=folder,
        base=task.order.base,
        bases={base: str(folder / "bases" / f"{MODEL.parse(base)['model']}{SUFFIX}") for base in hold.bases},
        mode=task.order.mode,
        validation_fraction=task.order.validation_fraction,
        num_threads=deps.settings.trainer_threads,
        max_training_seconds=deps.settings.trainer_max_training_seconds,
        code_version=deps.code_version,
        request_id=call_context.request_id.get() or "",
        traceparent=call_context.traceparent.get(),
    )


async def remove_work_folder(deps: Deps, task: Task) -> None:
    """Remove what a task that ended has left on this machine."""
    await asyncio.to_thread(shutil.rmtree, deps.settings.task_folder / task.uid, ignore_errors=True)
