"""Waiting for the first of several events."""

import asyncio


async def first_of(*events: asyncio.Event, timeout_seconds: float) -> None:
    """Return when one of the events is set, or after the timeout."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
