"""Tables of uploads."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field

from libs.runtime.tables import UtcDateTime
from services.dataset.rows import MAX_KEY, Table


class UploadRow(Table, table=True):
    """A file on its way into a dataset's folder."""

    __tablename__ = "upload"
    __table_args__ = (
        UniqueConstraint("dataset_uid", "request_id"),
        Index("upload_by_dataset", "dataset_uid", "upload_id"),
        Index("upload_by_state", "state", "update_time"),
    )

    upload_id: str = Field(primary_key=True, max_length=40)
    dataset_uid: str = Field(max_length=40)
    # Null where the call had none, and once the upload receives no more.
    request_id: str | None = Field(max_length=64)
    state: str = Field(max_length=20)
    source: str = Field(max_length=20)
    file_name: str = Field(max_length=MAX_KEY)
    folder: str = Field(max_length=MAX_KEY)
    size_bytes: int = Field(sa_type=BigInteger)
    received_bytes: int = Field(sa_type=BigInteger)
    sha256: str = Field(max_length=64)
    rename: bool
    split_pages: bool
    convert: bool
    error_message: str
    num_stored: int
    num_already_there: int
    num_skipped: int
    num_failed: int
    num_done: int
    num_total: int
    sync_owed: bool
    create_time: datetime = Field(sa_type=UtcDateTime)
    update_time: datetime = Field(sa_type=UtcDateTime)


class UploadResultRow(Table, table=True):
    """What became of one file of an upload."""

    __tablename__ = "upload_result"
    __table_args__ = (ForeignKeyConstraint(["upload_id"], ["upload.upload_id"], ondelete="CASCADE"),)

    upload_id: str = Field(primary_key=True, max_length=40)
    number: int = Field(primary_key=True)
    source: str
    result: str = Field(max_length=20)
    key: str = Field(max_length=MAX_KEY)
    reason: str = Field(max_length=40)
    message: str
