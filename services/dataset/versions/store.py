"""Queries over frozen versions and their entries."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy
from sqlalchemy import ColumnElement, Insert, and_, delete, func, insert, literal, outerjoin, tuple_
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.errors import NotFound
from libs.runtime.names import new_id
from libs.runtime.paging import Cursor, Page
from services.dataset.boxes import boxes_from_bytes, boxes_to_bytes
from services.dataset.domain import Dataset
from services.dataset.image import ImageState, LabelState
from services.dataset.key_patterns import begins_with, matches
from services.dataset.rows import METADATA, VersionEntryRow, VersionRow
from services.dataset.versions.version import Version, VersionDigest, VersionEntry, VersionFilter, VersionPart

_TABLES = METADATA.tables
_IMAGE, _BOXES, _TEST, _VERSION, _ENTRY = (_TABLES[name].c for name in ("image", "boxes", "test_image", "version", "version_entry"))
_NO_BOXES = boxes_to_bytes(())
_DIGESTED: Final = 5_000
"""Entries are read by so many for the digest: a version of a million is never in memory."""


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
        return _version(dataset, row)

    async def frozen_by(self, dataset: Dataset, request_id: str) -> Version | None:
        """What an earlier call with this request id froze."""
        where = (_VERSION.dataset_uid == dataset.uid) & (_VERSION.request_id == request_id)
        row = (await self._session.exec(select(VersionRow).where(where))).one_or_none()
        return _version(dataset, row) if row else None

    async def freeze(
        self, dataset: Dataset, datasets: Sequence[Dataset], filter: VersionFilter, *, request_id: str, at: datetime
    ) -> Version:
        """Copy what the filter takes of the usable part of each index; ``dataset`` is the one the version belongs to."""
        version = Version(new_id("v"), "", at, request_id, (), filter)
        row = VersionRow(dataset_uid=dataset.uid, **_values(version))
        self._session.add(row)
        await self._session.flush()
        digest, parts = VersionDigest(), []
        for number, one in enumerate(sorted(datasets, key=lambda each: each.name)):
            await self._session.exec(_copy_entries(version.version_id, number, await self._taken(one, filter)))
            parts.append(await self._part(version.version_id, number, one.name))
            if len(datasets) > 1:
                digest.begin_part(one.name)
            await self._digest(digest, version.version_id, number)
        version = replace(version, digest=digest.hexdigest(), parts=tuple(parts))
        for name, value in _values(version).items():
            setattr(row, name, value)
        await self._session.flush()
        return version

    async def page(self, dataset: Dataset, *, size: int, after: Cursor) -> Page[Version]:
        """Newest first."""
        query = select(VersionRow).where(_VERSION.dataset_uid == dataset.uid).order_by(_VERSION.version_id.desc())
        if after:
            query = query.where(_VERSION.version_id < after[0])
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_version(dataset, row) for row in rows[:size]], (rows[size - 1].version_id,) if len(rows) > size else None)

    async def entries(self, version: Version, *, size: int, after: Cursor) -> Page[VersionEntry]:
        """By part, then by key."""
        where = _ENTRY.version_id == version.version_id
        query = select(VersionEntryRow).where(where).order_by(_ENTRY.part, _ENTRY.key)
        if after:
            query = query.where(tuple_(_ENTRY.part, _ENTRY.key) > tuple_(literal(after[0]), literal(after[1])))
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_entry(row) for row in rows[:size]], (rows[size - 1].part, rows[size - 1].key) if len(rows) > size else None)

    async def remove_all(self, dataset_uid: str) -> None:
        """Forget every version of a dataset."""
        await self._session.exec(delete(VersionRow).where(_VERSION.dataset_uid == dataset_uid))

    async def _taken(self, dataset: Dataset, filter: VersionFilter) -> ColumnElement[bool]:
        taken = [_IMAGE.dataset_uid == dataset.uid, _IMAGE.state == ImageState.USABLE]
        if filter.label_states:
            taken.append(_IMAGE.label_state.in_(filter.label_states))
        if filter.key_prefix:
            taken.append(begins_with(_IMAGE.key, filter.key_prefix))
        if filter.key_glob:
            dialect = (await self._session.connection()).dialect.name
            taken.append(matches(_IMAGE.key, filter.key_glob, dialect=dialect))
        if filter.min_boxes:
            taken.append(_IMAGE.num_boxes >= filter.min_boxes)
        if excluded := filter.excluded_of(dataset.name):
            taken.append(_IMAGE.image_id.not_in(excluded))
        return and_(*taken)

    async def _part(self, version_id: str, number: int, dataset: str) -> VersionPart:
        where = (_ENTRY.version_id == version_id) & (_ENTRY.part == number)
        counts = [func.count().filter(one) for one in (sqlalchemy.true(), _ENTRY.label_digest != "", _ENTRY.is_test)]
        connection = await self._session.connection()
        row = (await connection.execute(sqlalchemy.select(*counts).where(where))).one()
        return VersionPart(dataset, row[0], row[1], row[2])

    async def _digest(self, digest: VersionDigest, version_id: str, number: int) -> None:
        # Of the copied entries: a row of the index may be another one by now.
        columns = [_ENTRY.key, _ENTRY.size_bytes, _ENTRY.store_etag, _ENTRY.label_digest, _ENTRY.is_test]
        where = (_ENTRY.version_id == version_id) & (_ENTRY.part == number)
        query = sqlalchemy.select(*columns).order_by(_ENTRY.key).limit(_DIGESTED)
        connection = await self._session.connection()
        after: str | None = None
        while rows := (await connection.execute(query.where(where if after is None else where & (_ENTRY.key > after)))).all():
            for row in rows:
                digest.add(*row)
            after = rows[-1].key


async def load_entries(session: AsyncSession, version: Version, part: int, keys: Sequence[str]) -> dict[str, VersionEntry]:
    """Those of the keys that a part of a version holds, at most a thousand."""
    where = and_(_ENTRY.version_id == version.version_id, _ENTRY.part == part, _ENTRY.key.in_(keys))
    return {row.key: _entry(row) for row in (await session.exec(select(VersionEntryRow).where(where))).all()}


def _copy_entries(version_id: str, part: int, taken: ColumnElement[bool]) -> Insert:
    image, boxes, test = _TABLES["image"], _TABLES["boxes"], _TABLES["test_image"]
    rows = outerjoin(image, boxes, and_(_BOXES.dataset_uid == _IMAGE.dataset_uid, _BOXES.image_id == _IMAGE.image_id))
    rows = outerjoin(rows, test, and_(_TEST.dataset_uid == _IMAGE.dataset_uid, _TEST.image_id == _IMAGE.image_id))
    copied = ("image_id", "key", "size_bytes", "store_etag", "width_px", "height_px", "label_digest")
    columns = [_IMAGE[name] for name in copied]
    made = [_TEST.image_id.is_not(None), func.coalesce(_BOXES.data, literal(_NO_BOXES))]
    query = sqlalchemy.select(literal(version_id), literal(part), *columns, *made).select_from(rows).where(taken)
    return insert(VersionEntryRow).from_select(["version_id", "part", *copied, "is_test", "boxes"], query)


def _version(dataset: Dataset, row: VersionRow) -> Version:
    parts = [VersionPart(**part) for part in row.parts] or [VersionPart(dataset.name, row.num_images, row.num_labeled, 0)]
    filter = {**row.filter, "label_states": tuple(map(LabelState, row.filter.get("label_states", ())))}
    filter["excluded_images"] = tuple(filter.get("excluded_images", ()))
    return Version(row.version_id, row.digest, row.create_time, row.request_id, tuple(parts), VersionFilter(**filter))


def _values(version: Version) -> dict[str, Any]:
    values = {**asdict(version), "num_images": version.num_images, "num_labeled": version.num_labeled}
    return values | {"parts": [asdict(part) for part in version.parts]}


def _entry(row: VersionEntryRow) -> VersionEntry:
    return VersionEntry(
        part=row.part,
        image_id=row.image_id,
        key=row.key,
        size_bytes=row.size_bytes,
        store_etag=row.store_etag,
        width_px=row.width_px,
        height_px=row.height_px,
        label_digest=row.label_digest,
        is_test=row.is_test,
        boxes=boxes_from_bytes(row.boxes),
    )
