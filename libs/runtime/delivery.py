"""What every consumer does with a delivered message: keep it, delay it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from libs.runtime.bus import BUS_ERRORS
from libs.runtime.logs import get_logger

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
