"""Queries over the gateway's tables; rows never leave this file."""

from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar

from sqlalchemy import MetaData, delete, or_, tuple_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from gateway.identity.domain import SESSION_REST, AuditEntry, Kind, Outcome, Role, Session, Token, User
from gateway.rows import METADATA, AuditRow, SessionRow, TokenRow, UserRow
from libs.runtime import call_context
from libs.runtime.db import UnitOfWork, WorkFactory
from libs.runtime.errors import AlreadyExists, NotFound
from libs.runtime.paging import Cursor, Page

__all__ = ["METADATA", "GatewayWork", "Work"]


class Users:
    """The users of one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, user_id: str) -> User | None:
        """One user, or ``None``."""
        row = await self._session.get(UserRow, user_id)
        return None if row is None else _user(row)

    async def get(self, user_id: str, *, lock: bool = False) -> User:
        """One user.

        Args:
            lock: to change it; others wait until this unit ends.

        Raises:
            NotFound: there is none of this id.
        """
        row = await self._session.get(UserRow, user_id, with_for_update=lock or None)
        if row is None:
            raise NotFound(f"There is no user {user_id}; `inkctl user list` shows those there are.", user=user_id)
        return _user(row)

    async def page(self, *, size: int, after: Cursor) -> Page[User]:
        """Users by id."""
        query = select(UserRow).order_by(col(UserRow.user_id)).limit(size + 1)
        if after:
            query = query.where(col(UserRow.user_id) > str(after[0]))
        rows = list(await self._session.exec(query))
        items = [_user(row) for row in rows[:size]]
        return Page(items, (items[-1].user_id,) if len(rows) > size else None)

    async def add(self, user: User) -> None:
        """Insert a new one.

        Raises:
            AlreadyExists: the id is taken.
        """
        if await self._session.get(UserRow, user.user_id) is not None:
            raise AlreadyExists(f"{user.name} exists; choose another name.", name=user.name)
        self._session.add(UserRow(**asdict(user)))
        await self._session.flush()

    async def put(self, user: User) -> None:
        """Save a changed one."""
        await self._session.merge(UserRow(**asdict(user)))
        await self._session.flush()

    async def remove(self, user_id: str) -> None:
        """Delete one, with its sessions and tokens."""
        await self._session.delete(await self._session.get_one(UserRow, user_id))
        await self._session.flush()


class Tokens:
    """The tokens of one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, token_id: str) -> Token | None:
        """One token, or ``None``."""
        row = await self._session.get(TokenRow, token_id)
        return None if row is None else _token(row)

    async def page(self, user_id: str, *, size: int, after: Cursor) -> Page[Token]:
        """Tokens of a user, newest first."""
        create_time, token_id = col(TokenRow.create_time), col(TokenRow.token_id)
        query = select(TokenRow).where(TokenRow.user_id == user_id).order_by(create_time.desc(), token_id.desc()).limit(size + 1)
        if after:
            query = query.where(tuple_(create_time, token_id) < (datetime.fromisoformat(str(after[0])), str(after[1])))
        rows = list(await self._session.exec(query))
        items = [_token(row) for row in rows[:size]]
        return Page(items, (items[-1].create_time.isoformat(), items[-1].token_id) if len(rows) > size else None)

    async def add(self, token: Token) -> None:
        """Insert a new one."""
        self._session.add(TokenRow(**{**asdict(token), "scopes": sorted(token.scopes)}))
        await self._session.flush()

    async def note_use(self, token_id: str, at: datetime) -> None:
        """Remember when it was used last."""
        await self._session.exec(update(TokenRow).where(col(TokenRow.token_id) == token_id).values(use_time=at))

    async def remove(self, token_id: str) -> None:
        """Delete one, if it is there."""
        await self._session.exec(delete(TokenRow).where(col(TokenRow.token_id) == token_id))


class Sessions:
    """The sessions of one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, session_id: str) -> Session | None:
        """One session, or ``None``."""
        row = await self._session.get(SessionRow, session_id)
        return None if row is None else Session(**row.model_dump())

    async def add(self, session: Session) -> None:
        """Insert a new one."""
        self._session.add(SessionRow(**asdict(session)))
        await self._session.flush()

    async def note_use(self, session_id: str, at: datetime) -> None:
        """Remember when it was used last."""
        await self._session.exec(update(SessionRow).where(col(SessionRow.session_id) == session_id).values(use_time=at))

    async def remove(self, session_id: str) -> None:
        """End one, if it is there."""
        await self._session.exec(delete(SessionRow).where(col(SessionRow.session_id) == session_id))

    async def remove_of(self, user_id: str) -> None:
        """End all of a user."""
        await self._session.exec(delete(SessionRow).where(col(SessionRow.user_id) == user_id))

    async def remove_ended(self, at: datetime) -> None:
        """Delete those that nobody can use any more."""
        ended = or_(col(SessionRow.expire_time) < at, col(SessionRow.use_time) < at - SESSION_REST)
        await self._session.exec(delete(SessionRow).where(ended))


class AuditLog:
    """The audit log, as one unit of work sees it."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    def add(self, entry: AuditEntry) -> None:
        """Append."""
        self._session.add(AuditRow(**{**asdict(entry), "number": None}))

    async def page(self, *, principal: str, resource: str, size: int, after: Cursor) -> Page[AuditEntry]:
        """Newest first; empty words do not narrow it down."""
        number = col(AuditRow.number)
        query = select(AuditRow).order_by(number.desc()).limit(size + 1)
        if principal:
            query = query.where(or_(col(AuditRow.principal) == principal, col(AuditRow.on_behalf_of) == principal))
        if resource:
            inside = col(AuditRow.resource).startswith(f"{resource}/", autoescape=True)
            query = query.where(or_(col(AuditRow.resource) == resource, inside))
        if after:
            query = query.where(number < int(after[0]))
        rows = list(await self._session.exec(query))
        items = [_entry(row) for row in rows[:size]]
        return Page(items, (items[-1].number,) if len(rows) > size else None)

    async def remove_older(self, than: datetime) -> None:
        """Forget what is older."""
        await self._session.exec(delete(AuditRow).where(col(AuditRow.time) < than))


class GatewayWork(UnitOfWork):
    """A unit of work of the gateway."""

    service = "gateway"
    metadata: ClassVar[MetaData] = METADATA

    @cached_property
    def users(self) -> Users:
        """The users."""
        return Users(self.session)

    @cached_property
    def tokens(self) -> Tokens:
        """Their tokens."""
        return Tokens(self.session)

    @cached_property
    def sessions(self) -> Sessions:
        """Their sessions."""
        return Sessions(self.session)

    @cached_property
    def audit(self) -> AuditLog:
        """The audit log."""
        return AuditLog(self.session)

    def record(self, change: call_context.Change) -> None:
        """The log is here: nobody has to be told."""
        self.audit.add(
            AuditEntry(
                time=self.now,
                principal=change.caller.principal,
                on_behalf_of=change.caller.on_behalf_of,
                method=change.method,
                resource=change.resource,
                permission=change.permission,
                outcome=Outcome.DONE,
                request_id=call_context.request_id.get() or "",
            )
        )

    async def forget(self, *, audit_days: float) -> None:
        """Delete what has ended, and what is older than it is kept."""
        await self.sessions.remove_ended(self.now)
        await self.audit.remove_older(self.now - timedelta(days=audit_days))


Work = WorkFactory[GatewayWork]


def _user(row: UserRow) -> User:
    return User(**{**row.model_dump(), "kind": Kind(row.kind), "role": Role(row.role)})


def _token(row: TokenRow) -> Token:
    return Token(**{**row.model_dump(), "scopes": frozenset(row.scopes)})


def _entry(row: AuditRow) -> AuditEntry:
    values: dict[str, Any] = {**row.model_dump(), "outcome": Outcome(row.outcome)}
    return AuditEntry(**values)
