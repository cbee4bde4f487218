"""Tables of the gateway. Only ``store`` reads and writes them."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Column, Integer
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from libs.runtime.tables import UtcDateTime, add_plumbing


class Table(SQLModel, registry=registry()):
    """Base of the gateway's rows; keeps its tables apart from every service's."""


METADATA = add_plumbing(Table.metadata)


class UserRow(Table, table=True):
    """A user. ``user`` is a word of SQL."""

    __tablename__ = "account"

    user_id: str = Field(primary_key=True, max_length=30)
    kind: str = Field(max_length=20)
    role: str = Field(max_length=20)
    display_name: str = Field(max_length=100)
    disabled: bool
    password_hash: str
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)
    sign_in_time: datetime | None = Field(sa_type=UtcDateTime)
    revision: int


class TokenRow(Table, table=True):
    """A token of a user."""

    __tablename__ = "token"

    token_id: str = Field(primary_key=True, max_length=40)
    user_id: str = Field(max_length=30, foreign_key="account.user_id", ondelete="CASCADE", index=True)
    description: str = Field(max_length=200)
    scopes: list[str] = Field(sa_column=Column(JSON, nullable=False))
    digest: str = Field(max_length=64)
    create_time: datetime = Field(sa_type=UtcDateTime)
    expire_time: datetime | None = Field(sa_type=UtcDateTime)
    use_time: datetime | None = Field(sa_type=UtcDateTime)


class SessionRow(Table, table=True):
    """A session of a user."""

    __tablename__ = "session"

    session_id: str = Field(primary_key=True, max_length=40)
    user_id: str = Field(max_length=30, foreign_key="account.user_id", ondelete="CASCADE", index=True)
    digest: str = Field(max_length=64)
    expire_time: datetime = Field(sa_type=UtcDateTime)
    use_time: datetime = Field(sa_type=UtcDateTime)


class AuditRow(Table, table=True):
    """A line of the audit log. Principals and resources are names, not keys: they may be gone."""

    __tablename__ = "audit_entry"
    __table_args__ = {"sqlite_autoincrement": True}

    number: int | None = Field(
        default=None, sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    )
    time: datetime = Field(sa_type=UtcDateTime, index=True)
    principal: str = Field(max_length=200, index=True)
    on_behalf_of: str = Field(max_length=200, index=True)
    method: str = Field(max_length=200)
    resource: str = Field(max_length=500, index=True)
    permission: str = Field(max_length=30)
    outcome: str = Field(max_length=20)
    request_id: str = Field(max_length=64)
