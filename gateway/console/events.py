"""Live events for open pages: facts of the bus as a server-sent event stream that resumes where it broke off."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway import metrics
from gateway.console.tail import FactTail
from gateway.routes import Route
from gateway.transcode.openapi import ERROR_RESPONSE, MANAGEMENT_SECURITY, path_parameters
from gateway.transcode.routes import printed_json
from gateway.transcode.templates import compile_template
from inkwright.common.v1 import permission_pb2
from inkwright.inference.v1 import inference_events_pb2
from inkwright.trainer.v1 import trainer_events_pb2
from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.errors import InvalidInput, NoReadyInstance, QueueFull

EVENTS = compile_template("/v1/{name=projects/*}/events")
HEARTBEAT_SECONDS = 15.0
QUEUE_LENGTH = 1000
RETRY_MILLISECONDS = 2000

BUS_AWAY = "The bus cannot be reached; try again in a moment."
_EVENT_ID = re.compile(r"trainer:(\d{1,18}),inference:(\d{1,18})")


STREAM_SECONDS = 300.0
"""A stream ends then; the browser comes back where it was, and whether it still may is looked at again."""


class Events:
    """The endpoint.

    Args:
        stopping: set when the gateway goes down; every stream then ends.
    """

    def __init__(self, bus: Bus, stopping: asyncio.Event, *, max_streams: int) -> None:
        self._bus = bus
        self._stopping = stopping
        self._places = max_streams
        self._tails = {
            "trainer": FactTail(bus, "trainer", [trainer_events_pb2.TaskStateChanged, trainer_events_pb2.NodeProgressed]),
            "inference": FactTail(bus, "inference", [inference_events_pb2.DeploymentStateChanged]),
        }

    def routes(self) -> list[Route]:
        """What ``Routes`` wants."""
        return [Route("GET", EVENTS, permission_pb2.VIEW, self.stream)]

    async def stream(self, request: Request, captured: dict[str, str]) -> Response:
        """Events of one project from now on, or after ``Last-Event-ID``.

        Raises:
            InvalidInput: a ``Last-Event-ID`` that was never given out.
            Gone: what follows it is no longer kept.
            QueueFull: too many streams are open.
            NoReadyInstance: the bus is not there.
        """
        resume = _positions(request.headers.get("last-event-id"))
        if not self._bus.is_connected:
            raise NoReadyInstance(BUS_AWAY)
        try:
            positions = {service: await tail.position(resume.get(service)) for service, tail in self._tails.items()}
        except BUS_ERRORS as error:
            raise NoReadyInstance(BUS_AWAY) from error
        if self._places == 0:
            raise QueueFull("Too many event streams are open; close one.")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(captured["name"] + "/", positions), media_type="text/event-stream", headers=headers)

    async def _events(self, prefix: str, positions: dict[str, int]) -> AsyncIterator[bytes]:
        self._places -= 1
        metrics.EVENT_STREAMS.inc()
        queue: asyncio.Queue[tuple[str, int, Message]] = asyncio.Queue(QUEUE_LENGTH)
        tasks = [
            asyncio.create_task(_pump(tail, positions[service], queue), name=f"tail-{service}") for service, tail in self._tails.items()
        ]
        stop: asyncio.Task[Any] = asyncio.create_task(self._stopping.wait(), name="events-stop")
        next_fact = asyncio.create_task(queue.get(), name="events-next")
        try:
            # An id alone is no event, yet the browser keeps it: a break before the first event resumes here.
            yield f"retry: {RETRY_MILLISECONDS}\nid: {_event_id(positions)}\n\n".encode()
            end = time.monotonic() + STREAM_SECONDS
            while not stop.done() and time.monotonic() < end:
                waited = [next_fact, stop, *tasks]
                await asyncio.wait(waited, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not next_fact.done():
                    # A tail goes on for ever unless it broke: then the stream breaks too, and the browser comes back.
                    for task in tasks:
                        if task.done():
                            task.result()
                    yield b": still here\n\n"
                    continue
                service, sequence, fact = next_fact.result()
                next_fact = asyncio.create_task(queue.get(), name="events-next")
                positions[service] = sequence
                if _resource(fact).startswith(prefix):
                    kind, data = fact.DESCRIPTOR.name, printed_json(fact).decode()
                    yield f"id: {_event_id(positions)}\nevent: {kind}\ndata: {data}\n\n".encode()
        finally:
            self._places += 1
            metrics.EVENT_STREAMS.dec()
            for task in (*tasks, stop, next_fact):
                task.cancel()
            await asyncio.wait(tasks)


async def _pump(tail: FactTail, after: int, queue: asyncio.Queue[tuple[str, int, Message]]) -> None:
    async with aclosing(tail.follow(after)) as facts:
        async for passed in facts:
            await queue.put((tail.service, passed.sequence, passed.fact))


def _resource(fact: Message) -> str:
    match fact:
        case trainer_events_pb2.TaskStateChanged() | trainer_events_pb2.NodeProgressed():
            return fact.task
        case inference_events_pb2.DeploymentStateChanged():
            return fact.deployment
        case _:
            raise TypeError(f"{fact.DESCRIPTOR.name} is not one of ours")


def _event_id(positions: dict[str, int]) -> str:
    return f"trainer:{positions['trainer']},inference:{positions['inference']}"


def _positions(last_event_id: str | None) -> dict[str, int]:
    if not last_event_id:
        return {}
    found = _EVENT_ID.fullmatch(last_event_id)
    if found is None:
        raise InvalidInput("The Last-Event-ID was not given out here; connect without one.", last_event_id=last_event_id[:100])
    return {"trainer": int(found[1]), "inference": int(found[2])}


def openapi_paths() -> dict[str, dict[str, Any]]:
    """The OpenAPI path item of this route."""
    path, names = EVENTS.documented()
    return {
        path: {
            "get": {
                "operationId": "StreamEvents",
                "tags": ["Events"],
                "description": "Server-sent events `TaskStateChanged`, `NodeProgressed` and `DeploymentStateChanged` of the project. "
                "Send the last id as `Last-Event-ID` to resume without a gap.",
                "security": MANAGEMENT_SECURITY,
                "x-inkwright-permission": "VIEW",
                "parameters": [
                    *path_parameters(names),
                    {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": "Where to go on."},
                ],
                "responses": {
                    "200": {"description": "Events, for ever.", "content": {"text/event-stream": {}}},
                    "default": ERROR_RESPONSE,
                },
            }
        }
    }
