"""Queries over frozen versions and their entries."""

from dataclasses import asdict
from datetime import datetime

import sqlalchemy
from sqlalchemy import ColumnElement, Insert, and_, delete, func, insert, literal, outerjoin
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.errors import NotFound
from libs.runtime.names import new_id
from libs.runtime.paging import Cursor, Page
from services.dataset.convert import boxes_from_bytes, boxes_to_bytes
from services.dataset.domain import Dataset
from services.dataset.image import ImageState
from services.dataset.rows import METADATA, BoxesRow, ImageRow, VersionEntryRow, VersionRow
from services.dataset.version import Version, VersionEntry, digest_of

_IMAGE, _BOXES, _VERSION, _ENTRY = (METADATA.tables[name].c for name in ("image", "boxes", "version", "version_entry"))
_NO_BOXES = boxes_to_bytes(())


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


def _copy_entries(version_id: str, usable: ColumnElement[bool]) -> Insert:
    beside = and_(_BOXES.dataset_uid == _IMAGE.dataset_uid, _BOXES.image_id == _IMAGE.image_id)
    copied = ("image_id", "key", "size_bytes", "store_etag", "width_px", "height_px", "label_digest")
    columns = [_IMAGE[name] for name in copied]
    boxes = func.coalesce(_BOXES.data, literal(_NO_BOXES))
    query = sqlalchemy.select(literal(version_id), *columns, boxes).select_from(outerjoin(ImageRow, BoxesRow, beside)).where(usable)
    return insert(VersionEntryRow).from_select(["version_id", *copied, "boxes"], query)


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
