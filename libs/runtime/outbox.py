"""The relay: publishes what units of work told, in order, at least once.

What was published stays for a week: the bus is not the only copy of anything. After it lost its store,
``python -m libs.runtime.outbox replay SERVICE URL --since 2026-11-20T08:00Z`` has the service's relay publish everything published since
then again; whoever heard it before lets it pass.
"""

import argparse
import asyncio
import sys
from datetime import UTC, datetime, timedelta

from sqlalchemy import MetaData, Update, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from libs.runtime import call_context, metrics
from libs.runtime.bus import BUS_ERRORS, TYPE_HEADER, Bus
from libs.runtime.db import Database
from libs.runtime.logs import get_logger
from libs.runtime.migrations import metadata_of
from libs.runtime.tables import OUTBOX
from libs.runtime.waiting import first_of

log = get_logger()

BATCH = 200
TICK_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0
KEPT = timedelta(days=7)
"""As long as the streams keep facts, and well below what inboxes remember."""


class Relay:
    """Carries rows of the outbox to the bus and marks them once acknowledged.

    A row is published with its id as ``Nats-Msg-Id``: publishing it twice (a crash after the acknowledgement) is noticed by the
    stream, and past the stream's window by the consumers' inboxes. When the bus is away the relay tries for ever. Of several processes
    that share a database one publishes at a time, so that the order holds; each is woken by its own commits.
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
                metrics.OUTBOX_FAILURES.inc()
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
            await first_of(self._database.outbox_filled, stopping, timeout_seconds=TICK_SECONDS)

    async def publish_batch(self) -> int:
        """Publish up to 200 rows in order and mark them; those before a failure are marked too.

        Returns:
            How many were published.
        """
        async with self._database.alone("relay"):
            return await self._publish_batch()

    async def _publish_batch(self) -> int:
        outbox = self._outbox
        async with self._database.reading() as connection:
            waiting = select(outbox).where(outbox.c.published_time.is_(None)).order_by(outbox.c.position).limit(BATCH)
            rows = (await connection.execute(waiting)).all()
        done: list[int] = []
        try:
            for row in rows:
                headers = {TYPE_HEADER: row.type, call_context.REQUEST_ID_KEY: row.request_id}
                if row.traceparent:
                    headers[call_context.TRACEPARENT_KEY] = row.traceparent
                await self._bus.publish(row.subject, row.payload, message_id=row.id, headers=headers)
                log.debug("message_published", subject=row.subject, request_id=row.request_id)
                metrics.OUTBOX_PUBLISHED.inc()
                done.append(row.position)
        finally:
            if done:
                now = self._database.clock()
                async with self._database.writing() as connection:
                    await connection.execute(update(outbox).where(outbox.c.position.in_(done)).values(published_time=now))
                    await connection.execute(delete(outbox).where(outbox.c.published_time < now - KEPT))
        return len(done)


async def replay(database: Database, metadata: MetaData, since: datetime) -> int:
    """Have everything published since a moment published again, in its order; messages keep their ids.

    Args:
        since: aware.

    Returns:
        How many messages wait again. The service's relay takes them up within 2 s.
    """
    async with database.writing() as connection:
        return (await connection.execute(publish_again(metadata, since))).rowcount


def publish_again(metadata: MetaData, since: datetime) -> Update:
    """The statement that does so."""
    outbox = metadata.tables[OUTBOX]
    # Not by when it was told: what waited for a bus that was away is lost with it as well.
    return update(outbox).where(outbox.c.published_time >= since).values(published_time=None)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no moment such as 2026-11-20T08:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _replay(service: str, url: str, since: datetime) -> None:
    database = Database(url)
    try:
        count = await replay(database, metadata_of(service), since)
    finally:
        await database.close()
    sys.stdout.write(f"{count} messages of {service} published since {since.isoformat()} are published again\n")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m libs.runtime.outbox", description="The outbox of a service.")
    again = parser.add_subparsers(dest="command", required=True).add_parser(
        "replay", help="publish again what was published since a moment"
    )
    again.add_argument("service", choices=("dataset", "labeling", "trainer", "inference", "gateway"))
    again.add_argument("url", help="its database, as INKWRIGHT_<SERVICE>_DATABASE_URL has it")
    again.add_argument("--since", type=_moment, required=True, help="ISO 8601; UTC where no zone is given")
    arguments = parser.parse_args()
    try:
        asyncio.run(_replay(arguments.service, arguments.url, arguments.since))
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        parser.exit(1, f"{parser.prog}: this database has no outbox to replay ({reason}); give the URL that the service has\n")


if __name__ == "__main__":
    main()
