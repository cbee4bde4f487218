"""Queries that compare two versions."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import sqlalchemy
from sqlalchemy import ColumnElement, and_, func, not_, or_
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.paging import Cursor, Page
from services.dataset.rows import METADATA, VersionDiffRow
from services.dataset.versions.diff import DiffCounts, Difference, difference
from services.dataset.versions.store import load_entries
from services.dataset.versions.version import Version, VersionEntry

_TABLE = METADATA.tables["version_entry"]
_ENTRY = _TABLE.c
_STEP: Final = 4_000
"""A page goes through so many images, found or not: between two like versions of a million it would go through all."""


class VersionDiffs:
    """Differences between frozen versions."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def counts(self, old: Version, new: Version) -> DiffCounts:
        """How much they differ; counted by the first who asks, then known."""
        if _are_equal(old, new):
            return DiffCounts(num_unchanged=new.num_images)
        row = await self._session.get(VersionDiffRow, (old.version_id, new.version_id))
        if row is not None:
            return DiffCounts(**{name: getattr(row, name) for name in asdict(DiffCounts())})
        total = DiffCounts()
        for dataset in _datasets(old, new):
            total += await self._count(old, new, dataset)
        self._session.add(VersionDiffRow(old_id=old.version_id, new_id=new.version_id, **asdict(total)))
        return total

    async def page(self, old: Version, new: Version, *, size: int, after: Cursor) -> Page[Difference]:
        """By dataset, then by key; fewer than ``size``, or none, where few of the images that were compared differ."""
        names = _datasets(old, new)
        at, key = (int(after[0]), str(after[1])) if after else (0, "")
        if at >= len(names) or _are_equal(old, new):
            return Page([])
        keys, end = await self._step(old, new, names[at], key)
        found = await self._load(old, new, names[at], keys[:size])
        if len(keys) > size:
            return Page(found, (at, keys[size - 1]))
        if end is not None:
            return Page(found, (at, end))
        return Page(found, (at + 1, "") if at + 1 < len(names) else None)

    async def _count(self, old: Version, new: Version, dataset: str) -> DiffCounts:
        ours, theirs = _number(old, dataset), _number(new, dataset)
        if ours is None or theirs is None:
            num_removed = 0 if ours is None else old.parts[ours].num_images
            return DiffCounts(num_removed=num_removed, num_added=0 if theirs is None else new.parts[theirs].num_images)
        a, b = _part(old, ours, "a"), _part(new, theirs, "b")
        kinds = _changes(a, b)
        counts = [func.count().filter(one) for one in (*kinds, not_(or_(*kinds)))]
        query = sqlalchemy.select(func.count(), *counts).select_from(a.join(b, a.c.key == b.c.key))
        num_common, *numbers = (await (await self._session.connection()).execute(query)).one()
        return DiffCounts(new.parts[theirs].num_images - num_common, old.parts[ours].num_images - num_common, *numbers)

    async def _step(self, old: Version, new: Version, dataset: str, after: str) -> tuple[list[str], str | None]:
        """Keys that differ among the next few, and the key up to which was compared; ``None`` when that was the last of the dataset."""
        numbers = [_number(version, dataset) for version in (old, new)]
        a, b = (_part(version, number, name) for version, number, name in zip((old, new), numbers, "ab", strict=True))
        connection = await self._session.connection()
        beyond = [sqlalchemy.select(side.c.key).where(side.c.key > after).order_by(side.c.key).offset(_STEP).limit(1) for side in (a, b)]
        ends = [(await connection.execute(query)).scalar() for query in beyond]
        end = min((one for one in ends if one is not None), default=None)
        found: set[str] = set()
        for one, other, different in ((a, b, or_(*_changes(a, b))), (b, a, sqlalchemy.false())):
            window = (one.c.key > after) if end is None else (one.c.key > after) & (one.c.key <= end)
            query = sqlalchemy.select(one.c.key).select_from(one.outerjoin(other, one.c.key == other.c.key))
            found |= set((await connection.execute(query.where(window, or_(other.c.key.is_(None), different)))).scalars())
        return sorted(found), end

    async def _load(self, old: Version, new: Version, dataset: str, keys: Sequence[str]) -> list[Difference]:
        sides: list[dict[str, VersionEntry]] = []
        for version in (old, new):
            number = _number(version, dataset)
            sides.append({} if number is None else await load_entries(self._session, version, number, keys))
        found = (difference(dataset, sides[0].get(key), sides[1].get(key)) for key in keys)
        return [one for one in found if one is not None]


def _are_equal(old: Version, new: Version) -> bool:
    # The digest of a version of one dataset does not tell which one.
    return old.digest == new.digest and _datasets(old, old) == _datasets(new, new)


def _datasets(old: Version, new: Version) -> list[str]:
    return sorted({part.dataset for version in (old, new) for part in version.parts})


def _number(version: Version, dataset: str) -> int | None:
    return next((number for number, part in enumerate(version.parts) if part.dataset == dataset), None)


def _part(version: Version, part: int | None, name: str) -> sqlalchemy.Subquery:
    """What is compared of a part; of ``None``, nothing."""
    columns = [_ENTRY.key, _ENTRY.size_bytes, _ENTRY.store_etag, _ENTRY.label_digest, _ENTRY.is_test]
    where = and_(_ENTRY.version_id == version.version_id, _ENTRY.part == (-1 if part is None else part))
    return sqlalchemy.select(*columns).where(where).subquery(name)


def _changes(a: sqlalchemy.Subquery, b: sqlalchemy.Subquery) -> tuple[ColumnElement[bool], ColumnElement[bool], ColumnElement[bool]]:
    """Whether image, labels and test set differ under one key."""
    image_changed = or_(a.c.size_bytes != b.c.size_bytes, a.c.store_etag != b.c.store_etag)
    return image_changed, a.c.label_digest != b.c.label_digest, a.c.is_test != b.c.is_test
