"""Tables of the labeling service. Only ``store`` reads and writes them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from libs.runtime.tables import UtcDateTime, add_plumbing


class Table(SQLModel, registry=registry()):
    """Base of this service's rows; keeps its tables apart from every other service's."""


METADATA = add_plumbing(Table.metadata)


class PageRow(Table, table=True):
    """A page, its boxes apart."""

    __tablename__ = "page"
    __table_args__ = (
        UniqueConstraint("project", "dataset_id", "image_id"),
        Index("page_by_key", "project", "dataset_id", "key"),
        Index("page_by_state", "project", "dataset_id", "state", "key"),
        Index("page_by_editor", "project", "dataset_id", "last_editor", "key"),
        Index("page_by_confidence", "project", "dataset_id", "lowest_confidence", "key"),
    )

    uid: str = Field(primary_key=True, max_length=40)
    project: str = Field(max_length=100)
    dataset_id: str = Field(max_length=30)
    image_id: str = Field(max_length=40)
    key: str = Field(max_length=1_024)
    width_px: int
    height_px: int
    state: str = Field(max_length=20)
    sequence: int
    submitted_sequence: int
    edited_sequence: int
    num_boxes: int
    num_suggestions: int
    lowest_confidence: float | None
    last_editor: str = Field(max_length=100, sa_column_kwargs={"server_default": text("''")})
    return_note: str
    file_etag: str = Field(max_length=100)
    store_etag: str = Field(max_length=100)
    dataset_deleted: bool
    revision: int
    update_time: datetime = Field(sa_type=UtcDateTime)


class TrashRow(Table, table=True):
    """Whether a dataset is in the trash, as it was when somebody last looked: one row closes all its pages, and opens them again."""

    __tablename__ = "trash"

    project: str = Field(primary_key=True, max_length=100)
    dataset_id: str = Field(primary_key=True, max_length=30)
    is_trashed: bool
    revision: int


class ContentRow(Table, table=True):
    """The fold of a page's operations, kept so that reading a page needs no folding."""

    __tablename__ = "content"
    __table_args__ = (ForeignKeyConstraint(["page_uid"], ["page.uid"]),)

    page_uid: str = Field(primary_key=True, max_length=40)
    boxes: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    used_ids: list[Any] = Field(sa_type=JSON)


class OperationRow(Table, table=True):
    """One operation; rows are only ever added."""

    __tablename__ = "operation"
    __table_args__ = (ForeignKeyConstraint(["page_uid"], ["page.uid"]), UniqueConstraint("page_uid", "operation_id"))

    page_uid: str = Field(primary_key=True, max_length=40)
    sequence: int = Field(primary_key=True)
    operation_id: str = Field(max_length=64)
    actor: str = Field(max_length=100)
    create_time: datetime = Field(sa_type=UtcDateTime)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class PrelabelRow(Table, table=True):
    """A run of a model over empty pages."""

    __tablename__ = "prelabel"
    __table_args__ = (UniqueConstraint("project", "dataset_id", "request_id"),)

    prelabel_id: str = Field(primary_key=True, max_length=40)
    project: str = Field(max_length=100)
    dataset_id: str = Field(max_length=30)
    # Null where the call had none: nulls do not collide in a unique constraint.
    request_id: str | None = Field(max_length=64)
    model: str = Field(max_length=240)
    state: str = Field(max_length=20, index=True)
    error_message: str
    planned: bool
    num_images: int
    num_done: int
    num_failed: int
    num_boxes: int
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)


class PrelabelItemRow(Table, table=True):
    """A page a run has not finished yet."""

    __tablename__ = "prelabel_item"
    __table_args__ = (ForeignKeyConstraint(["prelabel_id"], ["prelabel.prelabel_id"], ondelete="CASCADE"),)

    prelabel_id: str = Field(primary_key=True, max_length=40)
    image_id: str = Field(primary_key=True, max_length=40)
