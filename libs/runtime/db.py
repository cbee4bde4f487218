"""The database of a service: engine, and units of work that roll back unless told to commit."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar

from google.protobuf.message import Message
from sqlalchemy import Connection, MetaData, event, insert, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime import call_context
from libs.runtime.subjects import fact_subject
from libs.runtime.tables import OUTBOX
from libs.runtime.times import utc_now

BUSY_TIMEOUT_SECONDS = 30.0
MAX_MESSAGE_BYTES = 900 * 1024
"""The bus takes 1 MiB with headers."""

READ_ONLY_OPTIONS = {"inkwright_read_only": True, "postgresql_readonly": True}
_JOB_SUBJECT = re.compile(r"jobs(\.[A-Za-z0-9_-]+)+")

W = TypeVar("W", bound="UnitOfWork")
W_co = TypeVar("W_co", bound="UnitOfWork", covariant=True)


class WorkFactory(Protocol[W_co]):
    """Makes units of work: ``async with work() as w`` or ``async with work(read_only=True) as w``."""

    def __call__(self, *, read_only: bool = False) -> W_co:
        """A fresh unit, not yet begun."""
        ...


class Database:
    """An async SQLAlchemy engine with the settings this house relies on.

    Args:
        url: any async SQLAlchemy URL. For SQLite the folder is made, and every connection runs with WAL, synchronous FULL,
            foreign keys and a busy timeout.
        clock: gives a unit its moment.
    """

    def __init__(self, url: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.url = url
        self.clock = clock
        self.outbox_filled = asyncio.Event()
        """Set by each commit that told something; the relay clears it."""
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        # SQLite has one writer; queueing here is fair and quick, its own busy handler is neither.
        self.writer = asyncio.Lock()
        if self.is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.engine = create_async_engine(url, pool_pre_ping=not self.is_sqlite)
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _set_up_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)

    def work(self, kind: type[W]) -> WorkFactory[W]:
        """The factory of a service's units of work."""

        def make(*, read_only: bool = False) -> W:
            return kind(self, read_only=read_only)

        return make

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a read-only transaction, for plumbing that needs no unit of work."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(**READ_ONLY_OPTIONS)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that commits at the end of the block, for plumbing."""
        async with self.writer if self.is_sqlite else nullcontext(), self.engine.begin() as connection:
            yield connection

    async def ping(self) -> None:
        """Ask the database anything.

        Raises:
            SQLAlchemyError: it cannot be reached.
        """
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


class UnitOfWork:
    """One transaction. Leaving the block without ``commit`` rolls back.

    A service subclasses it once, sets ``service`` and ``metadata`` and adds its repositories, which use ``session``.
    Units of one task must not nest. A read-only unit does not wait for writers and cannot commit.
    """

    service: ClassVar[str]
    metadata: ClassVar[MetaData]

    session: AsyncSession
    now: datetime
    """One moment for the whole unit, aware UTC."""

    def __init__(self, database: Database, *, read_only: bool = False) -> None:
        self._database = database
        self._read_only = read_only
        self._told: list[dict[str, Any]] = []
        self._holds_writer = False

    async def __aenter__(self) -> Self:
        if self._database.is_sqlite and not self._read_only:
            async with asyncio.timeout(BUSY_TIMEOUT_SECONDS):
                await self._database.writer.acquire()
            self._holds_writer = True
        self.now = self._database.clock()
        self.session = AsyncSession(self._database.engine, expire_on_commit=False)
        try:
            await self.session.connection(execution_options=READ_ONLY_OPTIONS if self._read_only else {})
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()

    def tell(self, fact: Message, *, resource: str, id: str) -> None:
        """Publish ``fact`` if and when this unit commits.

        Args:
            fact: a message named in the past tense, below 900 KiB.
            resource: kind of the resource, a subject token such as ``dataset``.
            id: its id, a subject token.

        Raises:
            ValueError: a token with other characters than letters, digits, ``_``, ``-``, or a fact that is too large.
        """
        self._put(fact_subject(self.service, resource, type(fact), id), fact)

    def enqueue(self, subject: str, message: Message) -> None:
        """Put a job into a work queue if and when this unit commits.

        Args:
            subject: ``jobs.train.<resource class>`` and the like.
            message: the order, below 900 KiB.

        Raises:
            ValueError: not a subject below ``jobs.``, or a message that is too large.
        """
        if not _JOB_SUBJECT.fullmatch(subject):
            raise ValueError(f"{subject!r} is no job subject")
        self._put(subject, message)

    async def commit(self) -> None:
        """Make everything of this unit last, then wake the relay.

        Raises:
            RuntimeError: the unit is read-only.
        """
        if self._read_only:
            raise RuntimeError("a read-only unit of work cannot commit")
        if self._told:
            connection = await self.session.connection()
            await connection.execute(insert(self.metadata.tables[OUTBOX]), self._told)
        await self.session.commit()
        if self._told:
            self._told = []
            self._database.outbox_filled.set()

    def _put(self, subject: str, message: Message) -> None:
        payload = message.SerializeToString()
        if len(payload) > MAX_MESSAGE_BYTES:
            raise ValueError(f"{message.DESCRIPTOR.full_name} of {len(payload)} bytes is too large for the bus; send keys, not contents")
        self._told.append(
            {
                "id": uuid.uuid4().hex,
                "subject": subject,
                "type": message.DESCRIPTOR.full_name,
                "payload": payload,
                "request_id": call_context.request_id.get() or "",
                "told_time": self.now,
            }
        )

    async def _close(self) -> None:
        # A cancelled unit still has to give its connection back, or the write lock of the file stays taken.
        closing = asyncio.ensure_future(self.session.close())
        try:
            await asyncio.shield(closing)
        finally:
            if self._holds_writer:
                self._holds_writer = False
                self._database.writer.release()


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Without this the driver begins transactions by itself, deferred and too late.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={int(BUSY_TIMEOUT_SECONDS * 1000)}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("inkwright_read_only", False)
    # A deferred transaction that reads first and writes later fails when another wrote in between, whatever the timeout.
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
