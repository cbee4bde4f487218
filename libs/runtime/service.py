"""How a process lives: built, served, and taken down in one fixed order."""

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

import structlog
import uvloop
from pydantic import ValidationError

from libs.runtime import cannot_start, traces
from libs.runtime.cannot_start import CannotStart, wrong_settings
from libs.runtime.logs import get_logger

log = get_logger()

CHILD_GRACE_SECONDS = 3.0


class Door(Protocol):
    """Where work comes in: a ``GrpcServer``, or the gateway's HTTP server."""

    @property
    def name(self) -> str:
        """For logs."""
        ...

    async def start(self) -> None:
        """Serve from now on."""
        ...

    async def stop_serving(self) -> None:
        """Tell health checks that no new work is wanted."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Take no new work, finish what has begun within the grace. May be called twice."""
        ...


class Loop(Protocol):
    """Work that goes on beside the calls: a relay, a consumer, an indexer."""

    @property
    def name(self) -> str:
        """Name of its task."""
        ...

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until ``stopping`` is set, then finish what is in hand. An exception ends the process."""
        ...


@dataclass(frozen=True)
class Worker:
    """A ``Loop`` from a function: ``Worker("indexer", indexer.run)``."""

    name: str
    run_until: Callable[[asyncio.Event], Awaitable[None]]

    async def run(self, stopping: asyncio.Event) -> None:
        """See ``Loop``."""
        await self.run_until(stopping)


@dataclass(frozen=True)
class Service:
    """What a process is made of, in the order in which it is taken down.

    Args:
        name: of the service.
        doors: servers; started in order once everything else runs.
        workers: loops that take work by themselves.
        relay: of the outbox.
        consumers: from ``hear(…)``.
        stop_children: each ends one child (or all of them) within the given seconds; may be called twice.
        closers: ``database.close``, ``bus.close``, channels; in order.
        grace_seconds: for work that has begun.
    """

    name: str
    doors: Sequence[Door] = ()
    workers: Sequence[Loop] = ()
    relay: Loop | None = None
    consumers: Sequence[Loop] = ()
    stop_children: Sequence[Callable[[float], Awaitable[None]]] = ()
    closers: Sequence[Callable[[], Awaitable[None]]] = ()
    grace_seconds: float = field(default=10.0)


def run_service(build: Callable[[], Coroutine[object, object, Service]]) -> NoReturn:
    """Build a service, run it until SIGTERM or SIGINT, and exit: 0 after a signal, 1 when anything crashed, 78 when it cannot start.

    Args:
        build: settings, logs, database, bus, clients, api; returns the parts, nothing started.
    """
    sys.exit(uvloop.run(_live(build)))


async def _live(build: Callable[[], Coroutine[object, object, Service]]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    began = time.monotonic()
    try:
        service = await _unless(stop, build())
        if service is None:
            return 0
        # What was loaded stays until the end: walking over it again and again would hold up answers for a tenth of a second each time.
        gc.collect()
        gc.freeze()
        log.info("service_built", seconds=round(time.monotonic() - began, 3))
        await serve(service, stop)
    except BaseExceptionGroup as group:
        for error in _leaves(group):
            log.critical("service_crashed", error=repr(error), exc_info=error)
        return 1
    except ValidationError as error:
        return _refuse(wrong_settings(error))
    except CannotStart as reason:
        return _refuse(reason)
    except Exception as error:
        log.critical("service_crashed", error=repr(error), exc_info=error)
        return 1
    finally:
        await asyncio.to_thread(traces.close_traces)
    return 0


def _refuse(reason: CannotStart) -> int:
    if structlog.is_configured():
        log.critical("service_cannot_start", reason=str(reason))
    else:
        # Settings that cannot be read do not say how logs are to look.
        sys.stderr.write(f"{reason}\n")
    return cannot_start.EXIT_CODE


async def serve(service: Service, stop: asyncio.Event) -> None:
    """Run a built service until ``stop`` is set; tests call this too.

    Raises:
        BaseExceptionGroup: a door or a loop crashed; everything is closed all the same.
    """
    workers_stop, relay_stop, consumers_stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    grace = service.grace_seconds
    try:
        async with asyncio.TaskGroup() as group:

            def begin(loops: Iterable[Loop], stopping: asyncio.Event) -> list[asyncio.Task[None]]:
                return [group.create_task(loop.run(stopping), name=loop.name) for loop in loops]

            relay = begin([service.relay] if service.relay else [], relay_stop)
            consumers = begin(service.consumers, consumers_stop)
            workers = begin(service.workers, workers_stop)
            for door in service.doors:
                await door.start()
            log.info("service_ready")
            await stop.wait()
            log.info("service_stopping")
            for door in service.doors:
                await door.stop_serving()
            workers_stop.set()
            await asyncio.gather(*(door.stop(grace) for door in service.doors), _finish(workers, grace))
            relay_stop.set()
            await _finish(relay, grace)
            consumers_stop.set()
            await _finish(consumers, grace)
    finally:
        for door in service.doors:
            await door.stop(0)
        for stop_child in service.stop_children:
            await stop_child(CHILD_GRACE_SECONDS)
        for close in service.closers:
            await close()
        log.info("service_stopped")


async def _finish(tasks: Sequence[asyncio.Task[None]], grace_seconds: float) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace_seconds)
    for task in late:
        log.warning("task_cut_off", task=task.get_name(), grace_seconds=grace_seconds)
        task.cancel()
    if late:
        await asyncio.wait(late)


async def _unless(stop: asyncio.Event, building: Coroutine[object, object, Service]) -> Service | None:
    build_task = asyncio.create_task(building, name="build")
    stop_task = asyncio.create_task(stop.wait(), name="signal")
    try:
        await asyncio.wait([build_task, stop_task], return_when=asyncio.FIRST_COMPLETED)
        if build_task.done():
            return build_task.result()
        return None
    finally:
        for task in (build_task, stop_task):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stop_task


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
