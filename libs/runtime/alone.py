"""Loops of which one is enough, however many replicas of a service there are."""

import asyncio
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from libs.runtime.db import Database
from libs.runtime.logs import get_logger
from libs.runtime.service import Loop

log = get_logger()

RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Alone:
    """A ``Loop`` that goes on in one of all processes that share a database, and in another once that one is gone."""

    loop: Loop
    database: Database

    @property
    def name(self) -> str:
        """See ``Loop``."""
        return self.loop.name

    async def run(self, stopping: asyncio.Event) -> None:
        """See ``Loop``."""
        is_the_one = asyncio.Event()

        async def hold() -> None:
            while True:
                try:
                    async with self.database.alone(self.name):
                        is_the_one.set()
                        await self.loop.run(stopping)
                except SQLAlchemyError as error:
                    if is_the_one.is_set() and not stopping.is_set():
                        raise
                    # Only the lock was lost: to wait for it again is all that can be done, and at the end not even that.
                    log.warning("lock_waits", loop=self.name, error=repr(error))
                if is_the_one.is_set():
                    return
                await asyncio.sleep(RETRY_SECONDS)

        holding = asyncio.create_task(hold(), name=self.name)
        stop = asyncio.create_task(stopping.wait(), name=f"{self.name}-stop")
        try:
            await asyncio.wait([holding, stop], return_when=asyncio.FIRST_COMPLETED)
            if is_the_one.is_set() or holding.done():
                await holding
        finally:
            for task in (holding, stop):
                task.cancel()
            await asyncio.wait([holding, stop])
