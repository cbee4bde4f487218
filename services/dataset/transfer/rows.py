"""Tables of imports of labels."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field

from libs.runtime.tables import UtcDateTime
from services.dataset.rows import MAX_KEY, Table


class LabelImportRow(Table, table=True):
    """An import of labels."""

    __tablename__ = "label_import"
    __table_args__ = (UniqueConstraint("dataset_uid", "request_id"), Index("label_import_by_dataset", "dataset_uid", "uid"))

    uid: str = Field(primary_key=True, max_length=40)
    dataset_uid: str = Field(max_length=40)
    # Null where the call had none: nulls do not collide in a unique constraint.
    request_id: str | None = Field(max_length=64)
    state: str = Field(max_length=20, index=True)
    format: str = Field(max_length=40)
    overwrite: bool
    dry_run: bool
    prefix: str = Field(max_length=MAX_KEY)
    file_name: str = Field(max_length=MAX_KEY)
    size_bytes: int = Field(sa_type=BigInteger)
    error_message: str
    num_rows: int
    num_imported: int
    num_repaired: int
    num_skipped: int
    num_failed: int
    num_image_missing: int
    num_boxes: int
    cursor_file: str = Field(max_length=MAX_KEY)
    cursor_rows: int
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)


class LabelImportPartRow(Table, table=True):
    """A piece of an uploaded label file: in the database, so that whichever process goes on with the import has it."""

    __tablename__ = "label_import_part"
    __table_args__ = (ForeignKeyConstraint(["import_uid"], ["label_import.uid"], ondelete="CASCADE"),)

    import_uid: str = Field(primary_key=True, max_length=40)
    number: int = Field(primary_key=True)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LabelImportedRow(Table, table=True):
    """What became of one row of an import."""

    __tablename__ = "label_import_row"
    __table_args__ = (
        ForeignKeyConstraint(["import_uid"], ["label_import.uid"], ondelete="CASCADE"),
        Index("label_import_row_by_outcome", "import_uid", "outcome", "number"),
        Index("label_import_row_by_image", "import_uid", "image_id"),
    )

    import_uid: str = Field(primary_key=True, max_length=40)
    number: int = Field(primary_key=True)
    outcome: str = Field(max_length=20)
    image_id: str = Field(max_length=40)
    key: str = Field(max_length=MAX_KEY)
    label_file: str = Field(max_length=MAX_KEY)
    num_boxes: int
    findings: list[Any] = Field(sa_type=JSON)
