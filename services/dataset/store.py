"""Queries over the tables of the dataset service; rows never leave this file."""

from dataclasses import asdict, fields
from datetime import datetime
from functools import cached_property
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Insert, and_, delete, func, insert, literal, outerjoin
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.db import UnitOfWork, WorkFactory
from libs.runtime.errors import NotFound
from libs.runtime.names import DATASET, new_id
from libs.runtime.paging import Cursor, Page
from services.dataset.convert import boxes_from_bytes, boxes_to_bytes
from services.dataset.domain import (
    Counts,
    Dataset,
    DatasetState,
    ImageState,
    Progress,
    StorageType,
    Version,
    VersionEntry,
    digest_of,
)
from services.dataset.image_store import Images
from services.dataset.index_store import Index
from services.dataset.rows import (
    METADATA,
    BoxesRow,
    DatasetRow,
    ImageRow,
    PurgeRow,
    VersionEntryRow,
    VersionRow,
)

__all__ = ["METADATA", "DatasetWork", "Datasets", "Images", "Versions", "Work"]

_DATASET, _PURGE, _IMAGE, _BOXES, _VERSION, _ENTRY = (
    METADATA.tables[name].c for name in ("dataset", "purge", "image", "boxes", "version", "version_entry")
)
_NO_BOXES = boxes_to_bytes(())


class Datasets:
    """Datasets, and deleted ones that are still to be purged."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, name: str, *, lock: bool = False) -> Dataset:
        """The dataset of this name; with ``lock`` nobody else changes it before this unit ends.

        Raises:
            NotFound: there is none.
        """
        ids = DATASET.parse(name)
        found = await self._find(_DATASET.project == ids["project"], _DATASET.dataset_id == ids["dataset"], lock=lock)
        if found is None:
            raise NotFound(f"There is no dataset {name}; list the datasets to see their names.", name=name)
        return found

    async def find(self, uid: str, *, lock: bool = False) -> Dataset | None:
        """The dataset with this uid; None once it was deleted."""
        return await self._find(_DATASET.uid == uid, lock=lock)

    async def created_by(self, project: str, request_id: str) -> Dataset | None:
        """What an earlier call with this request id created."""
        return await self._find(_DATASET.project == project, _DATASET.request_id == request_id) if request_id else None

    async def exists(self, project: str, dataset_id: str) -> bool:
        """Whether the name is taken."""
        return await self._find(_DATASET.project == project, _DATASET.dataset_id == dataset_id) is not None

    async def page(self, project: str, *, size: int, after: Cursor) -> Page[Dataset]:
        """In order of their ids."""
        query = select(DatasetRow).where(_DATASET.project == project).order_by(_DATASET.dataset_id)
        if after:
            query = query.where(_DATASET.dataset_id > after[0])
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_dataset(row) for row in rows[:size]], (rows[size - 1].dataset_id,) if len(rows) > size else None)

    async def wanting_sync(self) -> list[str]:
        """Uids of datasets whose sync has not finished."""
        query = select(_DATASET.uid).where(_DATASET.sync_wanted).order_by(_DATASET.update_time)
        return list((await self._session.exec(query)).all())

    def add(self, dataset: Dataset, *, request_id: str) -> None:
        """A new one."""
        self._session.add(DatasetRow(uid=dataset.uid, request_id=request_id or None, **_dataset_fields(dataset)))

    async def put(self, dataset: Dataset) -> None:
        """Save changes of one that is there."""
        row = await self._session.get_one(DatasetRow, dataset.uid)
        for field, value in _dataset_fields(dataset).items():
            setattr(row, field, value)

    async def delete(self, dataset: Dataset) -> None:
        """Take it out of sight; ``purges`` names it until its index is gone."""
        await self._session.delete(await self._session.get_one(DatasetRow, dataset.uid))
        self._session.add(PurgeRow(uid=dataset.uid, project=dataset.project, dataset_id=dataset.dataset_id))

    async def purges(self) -> list[tuple[str, str]]:
        """Uid and name of deleted datasets that still have rows."""
        rows = (await self._session.exec(select(PurgeRow))).all()
        return [(row.uid, DATASET.format(project=row.project, dataset=row.dataset_id)) for row in rows]

    async def purged(self, uid: str) -> None:
        """Nothing of it is left."""
        await self._session.exec(delete(PurgeRow).where(_PURGE.uid == uid))

    async def _find(self, *conditions: ColumnElement[bool], lock: bool = False) -> Dataset | None:
        query = select(DatasetRow).where(*conditions)
        row = (await self._session.exec(query.with_for_update() if lock else query)).one_or_none()
        return _dataset(row) if row else None


class Versions:
    """Frozen versions and their entries."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, dataset: Dataset, version_id: str) -> Version:
        """One version.

        Raises:
            NotFound: the dataset has no such version.
        """
        row = await self._session.get(VersionRow, version_id)
        if row is None or row.dataset_uid != dataset.uid:
            name = dataset.version_name(version_id)
            raise NotFound(f"There is no version {name}; list the versions of its dataset.", name=name)
        return _version(row)

    async def frozen_by(self, dataset: Dataset, request_id: str) -> Version | None:
        """What an earlier call with this request id froze."""
        where = (_VERSION.dataset_uid == dataset.uid) & (_VERSION.request_id == request_id)
        row = (await self._session.exec(select(VersionRow).where(where))).one_or_none()
        return _version(row) if row else None

    async def freeze(self, dataset: Dataset, *, request_id: str, at: datetime) -> Version:
        """Copy the usable part of the index."""
        usable = (_IMAGE.dataset_uid == dataset.uid) & (_IMAGE.state == ImageState.USABLE)
        query = select(_IMAGE.key, _IMAGE.size_bytes, _IMAGE.store_etag, _IMAGE.label_digest).where(usable)
        entries = [(key, size, etag, digest) for key, size, etag, digest in await self._session.exec(query)]
        version = Version(
            version_id=new_id("v"),
            digest=digest_of(entries),
            num_images=len(entries),
            num_labeled=sum(bool(digest) for *_, digest in entries),
            create_time=at,
            request_id=request_id,
        )
        self._session.add(VersionRow(dataset_uid=dataset.uid, **asdict(version)))
        await self._session.flush()
        await self._session.exec(_copy_entries(version.version_id, usable))
        return version

    async def page(self, dataset: Dataset, *, size: int, after: Cursor) -> Page[Version]:
        """Newest first."""
        query = select(VersionRow).where(_VERSION.dataset_uid == dataset.uid).order_by(_VERSION.version_id.desc())
        if after:
            query = query.where(_VERSION.version_id < after[0])
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_version(row) for row in rows[:size]], (rows[size - 1].version_id,) if len(rows) > size else None)

    async def entries(self, version: Version, *, size: int, after: Cursor) -> Page[VersionEntry]:
        """In key order."""
        where = _ENTRY.version_id == version.version_id
        query = select(VersionEntryRow).where(where).order_by(_ENTRY.key)
        if after:
            query = query.where(_ENTRY.key > after[0])
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_entry(row) for row in rows[:size]], (rows[size - 1].key,) if len(rows) > size else None)

    async def remove_all(self, dataset_uid: str) -> None:
        """Forget every version of a dataset."""
        await self._session.exec(delete(VersionRow).where(_VERSION.dataset_uid == dataset_uid))


class DatasetWork(UnitOfWork):
    """One transaction of the dataset service."""

    service = "dataset"
    metadata = METADATA

    @cached_property
    def datasets(self) -> Datasets:
        """Datasets."""
        return Datasets(self.session)

    @cached_property
    def images(self) -> Images:
        """Their index."""
        return Images(self.session)

    @cached_property
    def index(self) -> Index:
        """The same as syncs use it."""
        return Index(self.session)

    @cached_property
    def versions(self) -> Versions:
        """Their versions."""
        return Versions(self.session)


Work = WorkFactory[DatasetWork]


def _copy_entries(version_id: str, usable: ColumnElement[bool]) -> Insert:
    beside = and_(_BOXES.dataset_uid == _IMAGE.dataset_uid, _BOXES.image_id == _IMAGE.image_id)
    copied = ("image_id", "key", "size_bytes", "store_etag", "width_px", "height_px", "label_digest")
    columns = [_IMAGE[name] for name in copied]
    boxes = func.coalesce(_BOXES.data, literal(_NO_BOXES))
    query = sqlalchemy.select(literal(version_id), *columns, boxes).select_from(outerjoin(ImageRow, BoxesRow, beside)).where(usable)
    return insert(VersionEntryRow).from_select(["version_id", *copied, "boxes"], query)


def _dataset(row: DatasetRow) -> Dataset:
    return Dataset(
        uid=row.uid,
        project=row.project,
        dataset_id=row.dataset_id,
        description=row.description,
        storage_type=StorageType(row.storage_type),
        path=row.path,
        connection=row.connection or "",
        state=DatasetState(row.state),
        error_message=row.error_message,
        counts=Counts(**{name.name: getattr(row, name.name) for name in fields(Counts)}),
        sync_number=row.sync_number,
        sync_wanted=row.sync_wanted,
        progress=Progress(row.num_seen, row.num_changed, row.images_per_second, row.cursor),
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
    )


def _dataset_fields(dataset: Dataset) -> dict[str, Any]:
    values = asdict(dataset)
    del values["uid"]
    counts, progress = values.pop("counts"), values.pop("progress")
    return {**values, **counts, **progress}


def _version(row: VersionRow) -> Version:
    return Version(row.version_id, row.digest, row.num_images, row.num_labeled, row.create_time, row.request_id)


def _entry(row: VersionEntryRow) -> VersionEntry:
    return VersionEntry(
        image_id=row.image_id,
        key=row.key,
        size_bytes=row.size_bytes,
        store_etag=row.store_etag,
        width_px=row.width_px,
        height_px=row.height_px,
        label_digest=row.label_digest,
        boxes=boxes_from_bytes(row.boxes),
    )
