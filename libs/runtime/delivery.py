"""What every consumer does with a delivered message: keep it, delay it, bury it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from libs.runtime.bus import BUS_ERRORS, MESSAGE_ID_HEADER, Bus
from libs.runtime.logs import get_logger
from libs.runtime.subjects import DEAD_PREFIX

log = get_logger()

FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 60.0


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


async def bury(bus: Bus, message: Msg, durable: str, error: str) -> None:
    """Publish the message with its error to ``inkwright.dead.<durable>``, then end it for this consumer.

    Raises:
        nats.errors.Error: the dead letter was not stored; the message stays and is delivered again.
    """
    original = message.headers or {}
    headers = {**original, "Inkwright-Subject": message.subject, "Inkwright-Error": " ".join(error.split())[:1000]}
    position = message.metadata.sequence.stream
    # The id is new: the dead letters' stream sees the original id again when two durables bury one fact.
    message_id = f"dead-{durable}-{original.get(MESSAGE_ID_HEADER) or position}"
    await bus.publish(f"{DEAD_PREFIX}.{durable}", message.data, message_id=message_id, headers=headers)
    await message.term()
