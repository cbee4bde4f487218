"""What every consumer does with a delivered message: keep it, delay it, know what it is for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from libs.runtime import call_context, traces
from libs.runtime.bus import BUS_ERRORS
from libs.runtime.call_context import Origin
from libs.runtime.logs import get_logger

log = get_logger()

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 60.0


def origin_of(message: Msg) -> Origin:
    """The request that a message was published for."""
    headers = message.headers or {}
    traceparent = call_context.valid_traceparent(headers.get(call_context.TRACEPARENT_KEY))
    return Origin(headers.get(call_context.REQUEST_ID_KEY, ""), traceparent)


def consumed(message: Msg, durable: str) -> dict[str, traces.Value]:
    """Attributes of the span in which a message is dealt with."""
    return {
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "messaging.destination.name": message.subject,
        "messaging.consumer.group.name": durable,
        "inkwright.delivery": message.metadata.num_delivered,
    }


def growing_delay(tries: int, *, maximum_seconds: float = MAX_DELAY_SECONDS) -> float:
    """Seconds to wait after the ``tries``-th failure: 0.5, 1, 2, 4 … up to the maximum."""
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(tries - 1, 30), maximum_seconds)


@asynccontextmanager
async def heartbeat(message: Msg, interval_seconds: float) -> AsyncIterator[None]:
    """While the block runs, tell the server now and again that the message is being worked on."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                await message.in_progress()
            except BUS_ERRORS as error:
                log.warning("heartbeat_failed", subject=message.subject, error=repr(error))

    beating = asyncio.create_task(beat(), name=f"heartbeat-{message.subject}")
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])
