"""Tables of the dataset service. Only the files named ``…store`` read and write them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, ForeignKeyConstraint, Index, Integer, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from libs.runtime.tables import UtcDateTime, add_plumbing

MAX_KEY = 1_024


BY_CODE_POINT = String(MAX_KEY).with_variant(String(MAX_KEY, collation="C"), "postgresql")
"""Ordered as stores list their keys, whatever language the database was made for."""


class Table(SQLModel, registry=registry()):
    """Base of this service's rows; keeps its tables apart from every other service's."""


METADATA = add_plumbing(Table.metadata)


class DatasetRow(Table, table=True):
    """A dataset. Its uid is never used again, its name may be."""

    __tablename__ = "dataset"
    __table_args__ = (UniqueConstraint("project", "dataset_id"), UniqueConstraint("project", "request_id"))

    uid: str = Field(primary_key=True, max_length=40)
    project: str = Field(max_length=100)
    dataset_id: str = Field(max_length=30)
    # Null where the call had none: nulls do not collide in a unique constraint.
    request_id: str | None = Field(max_length=64)
    description: str
    storage_type: str = Field(max_length=20)
    path: str
    # Null in rows that a version before 0004 added.
    connection: str | None = Field(max_length=100)
    state: str = Field(max_length=20)
    error_message: str
    num_images: int
    num_labeled: int
    num_unlabeled: int
    num_rejected: int
    num_boxes: int
    num_with_findings: int
    num_submitted: int = Field(sa_column_kwargs={"server_default": "0"})
    num_returned: int = Field(sa_column_kwargs={"server_default": "0"})
    sync_number: int
    sync_wanted: bool = Field(index=True)
    num_seen: int
    num_changed: int
    images_per_second: float
    cursor: str = Field(sa_type=BY_CODE_POINT, sa_column_kwargs={"server_default": text("''")})
    revision: int
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)
    # Null outside the trash.
    trash_time: datetime | None = Field(sa_type=UtcDateTime, nullable=True)
    purge_time: datetime | None = Field(sa_type=UtcDateTime, nullable=True)


class PurgeRow(Table, table=True):
    """A deleted dataset whose index is still to be taken apart."""

    __tablename__ = "purge"

    uid: str = Field(primary_key=True, max_length=40)
    project: str = Field(max_length=100)
    dataset_id: str = Field(max_length=30)


class ImageRow(Table, table=True):
    """One image of an index. It outlives its dataset's row until the purge has told of it."""

    __tablename__ = "image"
    __table_args__ = (
        Index("image_by_key", "dataset_uid", "key"),
        Index("image_by_file_stem", "dataset_uid", "file_stem", "key"),
        Index("image_by_state", "dataset_uid", "state", "label_state", "key"),
    )

    dataset_uid: str = Field(primary_key=True, max_length=40)
    image_id: str = Field(primary_key=True, max_length=40)
    key: str = Field(sa_type=BY_CODE_POINT)
    file_stem: str = Field(max_length=MAX_KEY)
    state: str = Field(max_length=20)
    label_state: str = Field(max_length=20)
    width_px: int
    height_px: int
    size_bytes: int = Field(sa_type=BigInteger)
    store_etag: str = Field(max_length=100)
    label_key: str = Field(max_length=MAX_KEY)
    label_etag: str = Field(max_length=100)
    label_digest: str = Field(max_length=64)
    num_boxes: int
    image_findings: list[Any] = Field(sa_type=JSON)
    label_findings: list[Any] = Field(sa_type=JSON)
    shares_label_with: list[str] = Field(sa_type=JSON)
    source_tag: str = Field(max_length=32)
    update_time: datetime = Field(sa_type=UtcDateTime)


class BoxesRow(Table, table=True):
    """The boxes of an image's label file, apart from its row so that lists stay light."""

    __tablename__ = "boxes"
    __table_args__ = (ForeignKeyConstraint(["dataset_uid", "image_id"], ["image.dataset_uid", "image.image_id"], ondelete="CASCADE"),)

    dataset_uid: str = Field(primary_key=True, max_length=40)
    image_id: str = Field(primary_key=True, max_length=40)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class SearchEntryRow(Table, table=True):
    """An image in the search index. PostgreSQL keeps its words here; SQLite keeps them under the same id in ``sql_search_words``."""

    __tablename__ = "search_entry"
    __table_args__ = (UniqueConstraint("dataset_uid", "image_id"), {"sqlite_autoincrement": True})

    # Never used again, so that pages of a search that is under way stay right.
    id: int | None = Field(default=None, sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True))
    dataset_uid: str = Field(max_length=40)
    image_id: str = Field(max_length=40)
    words: str | None


class StretchRow(Table, table=True):
    """A part of a listing whose files are all in the index."""

    __tablename__ = "stretch"

    dataset_uid: str = Field(primary_key=True, max_length=40)
    after: str = Field(primary_key=True, sa_type=BY_CODE_POINT)
    end: str = Field(sa_type=BY_CODE_POINT)
    digest: str = Field(max_length=32)
    num_images: int


class ReplacedLabelsRow(Table, table=True):
    """A label file as it was before Inkwright replaced it. Kept when its dataset is deleted: it may be the only copy."""

    __tablename__ = "replaced_labels"
    __table_args__ = (Index("replaced_labels_by_image", "dataset", "image_id"),)

    uid: str = Field(primary_key=True, max_length=40)
    dataset: str = Field(max_length=200)
    image_id: str = Field(max_length=40)
    label_key: str = Field(max_length=MAX_KEY)
    etag: str = Field(max_length=100)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    replace_time: datetime = Field(sa_type=UtcDateTime)


class VersionRow(Table, table=True):
    """A frozen version."""

    __tablename__ = "version"
    __table_args__ = (UniqueConstraint("dataset_uid", "request_id"), Index("version_by_dataset", "dataset_uid", "version_id"))

    version_id: str = Field(primary_key=True, max_length=40)
    dataset_uid: str = Field(max_length=40)
    request_id: str = Field(max_length=64)
    digest: str = Field(max_length=64)
    num_images: int
    num_labeled: int
    # Empty in rows that a version before 0007 added: they have one part, which is their dataset.
    parts: list[Any] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "[]"})
    filter: dict[str, Any] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "{}"})
    create_time: datetime = Field(sa_type=UtcDateTime)


class VersionEntryRow(Table, table=True):
    """One image of a version."""

    __tablename__ = "version_entry"
    __table_args__ = (
        ForeignKeyConstraint(["version_id"], ["version.version_id"], ondelete="CASCADE"),
        Index("version_entry_by_key", "version_id", "part", "key"),
    )

    version_id: str = Field(primary_key=True, max_length=40)
    # Two datasets may hold images of one key, and so of one id.
    part: int = Field(primary_key=True, sa_column_kwargs={"server_default": "0", "autoincrement": False})
    image_id: str = Field(primary_key=True, max_length=40)
    key: str = Field(sa_type=BY_CODE_POINT)
    size_bytes: int = Field(sa_type=BigInteger)
    store_etag: str = Field(max_length=100)
    width_px: int
    height_px: int
    label_digest: str = Field(max_length=64)
    is_test: bool = Field(sa_column_kwargs={"server_default": text("false")})
    boxes: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class VersionDiffRow(Table, table=True):
    """How much two versions differ. Both are frozen, so that it is counted once."""

    __tablename__ = "version_diff"
    __table_args__ = (
        ForeignKeyConstraint(["old_id"], ["version.version_id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["new_id"], ["version.version_id"], ondelete="CASCADE"),
        Index("version_diff_by_new", "new_id"),
    )

    old_id: str = Field(primary_key=True, max_length=40)
    new_id: str = Field(primary_key=True, max_length=40)
    num_added: int
    num_removed: int
    num_image_changed: int
    num_labels_changed: int
    num_test_changed: int
    num_unchanged: int


class TestImageRow(Table, table=True):
    """An image of a dataset's test set; apart from the index, so that no sync forgets it."""

    __tablename__ = "test_image"
    __table_args__ = (Index("test_image_by_key", "dataset_uid", "key"),)
    __test__ = False

    dataset_uid: str = Field(primary_key=True, max_length=40)
    image_id: str = Field(primary_key=True, max_length=40)
    key: str = Field(sa_type=BY_CODE_POINT)
