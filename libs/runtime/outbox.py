"""The relay: publishes what units of work told, in order, at least once."""

import asyncio
import contextlib

from sqlalchemy import MetaData, delete, select
from sqlalchemy.exc import SQLAlchemyError

from libs.runtime import call_context
from libs.runtime.bus import BUS_ERRORS, TYPE_HEADER, Bus
from libs.runtime.db import Database
from libs.runtime.logs import get_logger
from libs.runtime.tables import OUTBOX

log = get_logger()

BATCH = 200
TICK_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0


class Relay:
    """Carries rows of the outbox to the bus and deletes them once acknowledged.

    A row is published with its id as ``Nats-Msg-Id``: publishing it twice (a crash after the acknowledgement) is noticed by the
    stream, and past the stream's window by the consumers' inboxes. When the bus is away the relay tries for ever.
    """

    name = "relay"

    def __init__(self, database: Database, metadata: MetaData, bus: Bus) -> None:
        self._database = database
        self._outbox = metadata.tables[OUTBOX]
        self._bus = bus

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until ``stopping`` is set, then what is left; the caller bounds that with a grace."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            self._database.outbox_filled.clear()
            try:
                published = await self.publish_batch()
            except (*BUS_ERRORS, SQLAlchemyError) as error:
                log.warning("relay_waits", error=repr(error), seconds=backoff)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                continue
            backoff = FIRST_BACKOFF_SECONDS
            if published == BATCH:
                continue
            if stopping.is_set():
                if published == 0:
                    return
                continue
            await self._wait(stopping)

    async def publish_batch(self) -> int:
        """Publish up to 200 rows in order and delete them; those before a failure are deleted too.

        Returns:
            How many were published.
        """
        outbox = self._outbox
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(outbox).order_by(outbox.c.position).limit(BATCH))).all()
        done: list[int] = []
        try:
            for row in rows:
                headers = {TYPE_HEADER: row.type, call_context.REQUEST_ID_KEY: row.request_id}
                await self._bus.publish(row.subject, row.payload, message_id=row.id, headers=headers)
                done.append(row.position)
        finally:
            if done:
                async with self._database.writing() as connection:
                    await connection.execute(delete(outbox).where(outbox.c.position.in_(done)))
        return len(done)

    async def _wait(self, stopping: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(self._database.outbox_filled.wait()), asyncio.ensure_future(stopping.wait())]
        try:
            await asyncio.wait(waits, timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*waits)
