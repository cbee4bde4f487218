"""The inbox: a message is delivered at least once and takes effect once."""

from datetime import timedelta

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from libs.runtime.db import UnitOfWork
from libs.runtime.tables import INBOX

KEPT = timedelta(days=30)
"""Longer than any stream keeps messages, so that a row outlives every possible repeat."""


class AlreadyHeard(Exception):
    """This durable has finished this message before; the consumer acknowledges and goes on."""


async def record(work: UnitOfWork, durable: str, message_id: str) -> None:
    """Note, in the unit's transaction, that ``durable`` finishes ``message_id`` with it.

    Raises:
        AlreadyHeard: it has done so before.
    """
    inbox = work.metadata.tables[INBOX]
    key = (inbox.c.durable == durable) & (inbox.c.message_id == message_id)
    connection = await work.session.connection()
    if (await connection.execute(select(inbox.c.message_id).where(key))).first() is not None:
        raise AlreadyHeard
    await connection.execute(delete(inbox).where(inbox.c.durable == durable, inbox.c.heard_time < work.now - KEPT))
    try:
        await connection.execute(insert(inbox).values(durable=durable, message_id=message_id, heard_time=work.now))
    except IntegrityError as error:
        # Another process of this service was faster.
        raise AlreadyHeard from error
