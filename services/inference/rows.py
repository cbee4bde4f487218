"""Tables of inference. Rows never leave this file and the stores beside it."""

from datetime import datetime

from sqlalchemy import LargeBinary, MetaData, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from libs.runtime.tables import UtcDateTime, add_plumbing


class Table(SQLModel, registry=registry()):
    """Base of this service's rows; keeps its tables apart from every other service's."""


class DeploymentRow(Table, table=True):
    """One deployment. Where its instances run stands in its assignments."""

    __tablename__ = "deployment"

    name: str = Field(primary_key=True, max_length=200)
    model: str = Field(max_length=200)
    bundle_digest: str = Field(max_length=64)
    resource_type: str = Field(max_length=60)
    num_instances: int
    cores: float
    memory_mb: int
    gpus: int
    state: str = Field(max_length=20)
    reason: str = Field(max_length=40)
    message: str = Field(max_length=4000)
    purpose: str = Field(max_length=20)
    encrypted_token: bytes = Field(sa_type=LargeBinary)
    create_time: datetime = Field(sa_type=UtcDateTime, index=True)
    update_time: datetime = Field(sa_type=UtcDateTime)
    revision: int
    used_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    request_id: str | None = Field(default=None, max_length=64, unique=True)


class ModelRow(Table, table=True):
    """One model the trainer told of."""

    __tablename__ = "model"

    name: str = Field(primary_key=True, max_length=200)
    bundle_digest: str = Field(max_length=64)
    retired: bool


class HostRow(Table, table=True):
    """One process of this service, and what its instances may share."""

    __tablename__ = "host"

    name: str = Field(primary_key=True, max_length=300)
    cores: int
    memory_mb: int
    is_leaving: bool
    beat: int


class AssignmentRow(Table, table=True):
    """One instance that a host keeps alive, and what the host last said of it, as JSON."""

    __tablename__ = "assignment"

    assignment_id: str = Field(primary_key=True, max_length=40)
    deployment: str = Field(max_length=200, index=True)
    host: str = Field(max_length=300, index=True)
    bundle_digest: str = Field(max_length=64)
    cores: float
    memory_mb: int
    gpus: int
    is_leaving: bool
    report: str = Field(sa_type=Text)
    create_time: datetime = Field(sa_type=UtcDateTime)


METADATA: MetaData = add_plumbing(Table.metadata)
