"""The database of a service: engine, and units of work that roll back unless told to commit."""

import asyncio
import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar

import psycopg
from google.protobuf.message import Message
from sqlalchemy import Connection, MetaData, delete, event, func, insert, make_url, select, text
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from inkwright.common.v1 import audit_pb2
from libs.runtime import call_context, metrics
from libs.runtime.call_context import Origin
from libs.runtime.errors import Conflict, InvalidInput, NoReadyInstance
from libs.runtime.subjects import fact_subject
from libs.runtime.tables import ORIGIN, OUTBOX
from libs.runtime.times import to_timestamp, utc_now

BUSY_TIMEOUT_SECONDS = 30.0
LOCK_TIMEOUT_SECONDS = 10.0
STATEMENT_TIMEOUT_SECONDS = 60.0
CONNECT_TIMEOUT_SECONDS = 5
MAX_MESSAGE_BYTES = 900 * 1024
"""The bus takes 1 MiB with headers."""

ORIGIN_KEPT = timedelta(days=30)
"""Longer than work waits to be done; what is older is only log lines that lose their id."""

READ_ONLY_OPTIONS = {"inkwright_read_only": True, "postgresql_readonly": True}
_LOST_RACES = {"23505", "40001", "40P01", "55P03"}
"""What PostgreSQL calls a key that is taken, a transaction that cannot be put in order, a deadlock, a lock that was waited for in vain."""

_DISK_FULL = "53100"
_AWAY = ("08", "57P")
"""Classes of PostgreSQL's codes: the connection failed, or the server is stopping or starting."""

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
            foreign keys and a busy timeout. For PostgreSQL (``postgresql+psycopg://``) a statement ends after 60 s, waiting for a lock
            after 10 s; the tables lie in the role's default schema.
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
        self.engine = create_async_engine(url, pool_pre_ping=not self.is_sqlite, connect_args={} if self.is_sqlite else _POSTGRESQL)
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

    @asynccontextmanager
    async def alone(self, purpose: str) -> AsyncIterator[None]:
        """Wait until no other process that uses this database is in a block of this purpose.

        An SQLite file has one process to begin with. On PostgreSQL a transaction without statements holds an advisory lock of the
        schema, so a process that dies lets go at once. A block whose connection breaks goes on without its lock and hears of it at
        its end: what it does must bear being done twice.

        Raises:
            SQLAlchemyError: the connection broke, before the block or meanwhile.
        """
        if self.is_sqlite:
            yield
            return
        async with self.engine.connect() as connection:
            schema = (await connection.execute(select(func.current_schema()))).scalar_one()
            key = int.from_bytes(hashlib.sha256(f"{schema}/{purpose}".encode()).digest()[:8], "big", signed=True)
            for setting in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
                await connection.execute(text(f"SET LOCAL {setting} = 0"))
            await connection.execute(select(func.pg_advisory_xact_lock(key)))
            yield

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
    Units of one task must not nest. A read-only unit does not wait for writers and cannot commit. On PostgreSQL writers run side by side:
    a row that is read to be changed is read with a lock, and the loser of a race that locks do not order gets a ``Conflict``. A database
    that is away, or whose disk is full, is a ``NoReadyInstance``.
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
        except BaseException as error:
            await self._close()
            _raise_fault_of(error)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()
        _raise_fault_of(error)

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

    async def note_origin(self, work: str) -> None:
        """Remember which request asked for work that a loop does later.

        Args:
            work: what the loop knows it by, such as ``sync/<uid>``; at most 100 characters. The last request to ask for it counts.
        """
        table, now, asked = self.metadata.tables[ORIGIN], self.now, call_context.origin()
        connection = await self.session.connection()
        await connection.execute(delete(table).where((table.c.work == work) | (table.c.noted_time < now - ORIGIN_KEPT)))
        row = {"work": work, "request_id": asked.request_id, "traceparent": asked.traceparent, "noted_time": now}
        await connection.execute(insert(table).values(row))

    async def origin_of(self, work: str) -> Origin:
        """The request that asked for this work; an empty one where nobody noted it."""
        table = self.metadata.tables[ORIGIN]
        connection = await self.session.connection()
        row = (await connection.execute(select(table.c.request_id, table.c.traceparent).where(table.c.work == work))).first()
        return Origin(*row) if row else Origin()

    async def commit(self, *, records: bool = True) -> None:
        """Make everything of this unit last, then wake the relay. A call that changes something is recorded with its first unit.

        Args:
            records: False for a unit that only prepares what the call wants to change, and would have done so for one that looks.

        Raises:
            RuntimeError: the unit is read-only.
        """
        if self._read_only:
            raise RuntimeError("a read-only unit of work cannot commit")
        change = call_context.change.get()
        if records and change is not None and not change.is_recorded:
            self.record(change)
        if self._told:
            connection = await self.session.connection()
            await connection.execute(insert(self.metadata.tables[OUTBOX]), self._told)
        await self.session.commit()
        if records and change is not None:
            change.is_recorded = True
        if self._told:
            self._told = []
            self._database.outbox_filled.set()

    def record(self, change: call_context.Change) -> None:
        """Let the audit log hear of a change, if and when this unit commits."""
        made = audit_pb2.ChangeMade(
            time=to_timestamp(self.now),
            principal=change.caller.principal,
            on_behalf_of=change.caller.on_behalf_of,
            method=change.method,
            resource=change.resource,
            permission=change.permission,
        )
        self.tell(made, resource="audit", id="change")

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
                "traceparent": call_context.traceparent.get(),
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


def _raise_fault_of(error: BaseException | None) -> None:
    """Say what a database's refusal means for the call.

    Raises:
        Conflict: a race was lost.
        InvalidInput: a value that cannot be kept.
        NoReadyInstance: the database is away, or its disk is full.
    """
    if not isinstance(error, DBAPIError):
        return
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state in _LOST_RACES:
        metrics.LOST_RACES.inc()
        raise Conflict("Something else changed the same thing at the same moment; nothing was done, try again.") from error
    if isinstance(error, DataError):
        # SQLite keeps whatever it is given.
        raise InvalidInput("A text is too long, or holds a character (such as U+0000) that the database cannot keep.") from error
    if state == _DISK_FULL or "disk is full" in str(error.orig):
        raise NoReadyInstance("The disk that holds the database is full; nothing was done. Free some space, then try again.") from error
    never_connected = isinstance(error.orig, psycopg.OperationalError) and not state
    if error.connection_invalidated or never_connected or state.startswith(_AWAY):
        # Whether a commit that got no answer took place is not known.
        raise NoReadyInstance("The database cannot be reached. Wait a moment, look whether it was done, and try again.") from error


_SESSION = {
    "timezone": "UTC",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS:.0f}s",
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS:.0f}s",
    # A machine that lost its power says nothing: without these the server keeps its locks, and with them whoever waits to be alone, for
    # two hours.
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}
_POSTGRESQL = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
}


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
