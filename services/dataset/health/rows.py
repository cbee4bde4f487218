"""Tables of surveys, their reports and of the normalising of labels."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, LargeBinary, String
from sqlmodel import Field

from libs.runtime.tables import UtcDateTime
from services.dataset.rows import BY_CODE_POINT, MAX_KEY, Table

_PLACE = String(MAX_KEY + 20).with_variant(String(MAX_KEY + 20, collation="C"), "postgresql")


class SurveyRow(Table, table=True):
    """Where the survey of a dataset stands."""

    __tablename__ = "survey"

    dataset_uid: str = Field(primary_key=True, max_length=40)
    run: int
    wanted: bool = Field(index=True)
    phase: str = Field(max_length=20)
    cursor: str = Field(sa_type=BY_CODE_POINT)
    num_seen: int
    num_images: int
    sync_number: int
    error_message: str
    tally: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class HealthReportRow(Table, table=True):
    """The last finished report of a dataset."""

    __tablename__ = "health_report"

    dataset_uid: str = Field(primary_key=True, max_length=40)
    run: int
    sync_number: int
    digest: str = Field(max_length=64)
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    create_time: datetime = Field(sa_type=UtcDateTime)


class FindingImageRow(Table, table=True):
    """An image that a survey found something on."""

    __tablename__ = "finding_image"

    dataset_uid: str = Field(primary_key=True, max_length=40)
    run: int = Field(primary_key=True)
    code: str = Field(primary_key=True, max_length=40)
    place: str = Field(primary_key=True, sa_type=_PLACE)
    image_id: str = Field(max_length=40)
    key: str = Field(sa_type=BY_CODE_POINT)
    detail: str


class PixelFactsRow(Table, table=True):
    """What a look at an image's file told."""

    __tablename__ = "pixel_facts"

    dataset_uid: str = Field(primary_key=True, max_length=40)
    image_id: str = Field(primary_key=True, max_length=40)
    store_etag: str = Field(max_length=100)
    # Two's complement: databases know no unsigned integers.
    dhash: int = Field(sa_type=BigInteger)
    content: int = Field(sa_type=BigInteger)
    border: int
    camera: str = Field(max_length=200)
    traits: list[Any] = Field(sa_type=JSON)
    problem: str


class NormalizationRow(Table, table=True):
    """The last normalising of a dataset's labels; ``run`` is the survey whose findings it walks."""

    __tablename__ = "normalization"

    dataset_uid: str = Field(primary_key=True, max_length=40)
    run: int
    wanted: bool = Field(index=True)
    cursor: str = Field(sa_type=_PLACE)
    error_message: str
    num_files: int
    num_changed: int
    num_skipped: int
    num_failed: int
    create_time: datetime = Field(sa_type=UtcDateTime)


class NormalizedFileRow(Table, table=True):
    """What became of one label file."""

    __tablename__ = "normalized_file"

    dataset_uid: str = Field(primary_key=True, max_length=40)
    key: str = Field(primary_key=True, sa_type=BY_CODE_POINT)
    image_id: str = Field(max_length=40)
    result: str = Field(max_length=20)
    num_lines: int
    message: str
