"""What a sync reads and writes of an index: stretches, tags and rows by the hundred."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel.ext.asyncio.session import AsyncSession

from services.dataset.image_store import image_values
from services.dataset.indexing.examine import Examined
from services.dataset.indexing.stretches import Stretch
from services.dataset.rows import METADATA
from services.dataset.search.store import Search

_TABLES = METADATA.tables
_IMAGE, _STRETCH = _TABLES["image"].c, _TABLES["stretch"].c
_LOADED = 500


class Index:
    """The index as syncs use it; rows go past the ORM, which would take longer than everything else together."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._search = Search(session)

    async def stretches(self, dataset_uid: str, begin: str) -> list[Stretch]:
        """The next few known ones that begin at or behind ``begin``, in order."""
        columns = (_STRETCH.after, _STRETCH.end, _STRETCH.digest, _STRETCH.num_images)
        where = (_STRETCH.dataset_uid == dataset_uid) & (_STRETCH.after >= begin)
        connection = await self._session.connection()
        return [Stretch(*row) for row in await connection.execute(select(*columns).where(where).order_by(_STRETCH.after).limit(_LOADED))]

    async def tags(self, dataset_uid: str, after: str, end: str) -> dict[str, str]:
        """Source tags by image id, of the images of a stretch."""
        return await self._tags((_IMAGE.dataset_uid == dataset_uid) & (_IMAGE.key > after) & (_IMAGE.key <= end))

    async def tags_of(self, dataset_uid: str, image_ids: Collection[str]) -> dict[str, str]:
        """Source tags of those of the images that are there."""
        return await self._tags((_IMAGE.dataset_uid == dataset_uid) & _IMAGE.image_id.in_(image_ids))

    async def _tags(self, where: Any) -> dict[str, str]:
        connection = await self._session.connection()
        return {image_id: tag for image_id, tag in await connection.execute(select(_IMAGE.image_id, _IMAGE.source_tag).where(where))}  # noqa: C416 - rows are no pairs to mypy

    async def put_images(self, dataset_uid: str, examined: Sequence[Examined], *, new: Collection[str]) -> None:
        """Save rows and boxes; those whose ids are in ``new`` have none yet, and need no boxes where the label file has none."""
        keys = [{"dataset_uid": dataset_uid, "image_id": one.image.image_id} for one in examined]
        await self._search.take_out(dataset_uid, {one.image.image_id for one in examined} - set(new))
        await upsert(self._session, "image", [{**key, **image_values(one.image)} for key, one in zip(keys, examined, strict=True)])
        boxes = [
            {**key, "data": one.labels.boxes}
            for key, one in zip(keys, examined, strict=True)
            if one.labels.boxes or one.image.image_id not in new
        ]
        await upsert(self._session, "boxes", boxes)
        await self._search.put(dataset_uid, {one.image.image_id: one.labels.words for one in examined})

    async def put_stretch(self, dataset_uid: str, stretch: Stretch) -> None:
        """In place of all that overlap it."""
        connection = await self._session.connection()
        overlapping = (_STRETCH.dataset_uid == dataset_uid) & (_STRETCH.after < stretch.end) & (_STRETCH.end > stretch.after)
        await connection.execute(delete(_TABLES["stretch"]).where(overlapping))
        values = {"after": stretch.after, "end": stretch.end, "digest": stretch.digest, "num_images": stretch.num_images}
        await upsert(self._session, "stretch", [{"dataset_uid": dataset_uid, **values}])

    async def remove_stretches(self, dataset_uid: str) -> None:
        """Know nothing any more."""
        connection = await self._session.connection()
        await connection.execute(delete(_TABLES["stretch"]).where(_STRETCH.dataset_uid == dataset_uid))


async def upsert(session: AsyncSession, name: str, rows: list[dict[str, Any]]) -> None:
    """Save rows of a table, new ones and changed ones."""
    if not rows:
        return
    table: Table = _TABLES[name]
    connection = await session.connection()
    insert = postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in keys}
    await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)
