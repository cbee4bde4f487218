"""Tables and column types that every service's database has.

A service's ``store.py`` begins with::

    class Table(SQLModel, registry=registry()):
        \"\"\"Base of this service's rows; keeps its tables apart from every other service's.\"\"\"

    METADATA = add_plumbing(Table.metadata)

and its rows are ``class DatasetRow(Table, table=True)``.
"""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.types import TypeDecorator

OUTBOX = "outbox"
INBOX = "inbox"
ORIGIN = "origin"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. Aware UTC in Python on every database, SQLite (which drops time zones) included.

    Raises:
        ValueError: on the way in, when the moment has no time zone.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """See ``TypeDecorator``."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored moment needs a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """See ``TypeDecorator``."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def add_plumbing(metadata: MetaData) -> MetaData:
    """Add the tables that every service has to its metadata and return it.

    ``outbox``: messages committed with the change they tell of, in the order of ``position``; ``published_time`` is when the bus
    acknowledged one, and a week later it goes.
    ``inbox``: which message each durable consumer has finished.
    ``origin``: the request that asked for work which a loop does later, so that its log lines and facts carry the same id.
    """
    Table(
        OUTBOX,
        metadata,
        # BIGINT would not count up by itself in SQLite; AUTOINCREMENT there keeps an emptied table from starting at 1 again.
        Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("id", String(32), nullable=False, unique=True),
        Column("subject", String(255), nullable=False),
        Column("type", String(200), nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("request_id", String(64), nullable=False),
        Column("traceparent", String(100), nullable=True),
        Column("told_time", UtcDateTime, nullable=False),
        Column("published_time", UtcDateTime, nullable=True, index=True),
        sqlite_autoincrement=True,
    )
    Table(
        INBOX,
        metadata,
        Column("durable", String(100), primary_key=True),
        Column("message_id", String(100), primary_key=True),
        Column("heard_time", UtcDateTime, nullable=False, index=True),
    )
    Table(
        ORIGIN,
        metadata,
        Column("work", String(100), primary_key=True),
        Column("request_id", String(64), nullable=False),
        Column("traceparent", String(100), nullable=False),
        Column("noted_time", UtcDateTime, nullable=False, index=True),
    )
    return metadata
