"""Queries over the test sets of datasets."""

from collections.abc import Sequence

import sqlalchemy
from sqlalchemy import ColumnElement, and_, delete, func, insert, not_
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.errors import NotFound
from libs.runtime.paging import Cursor, Page
from services.dataset.domain import Dataset
from services.dataset.image import ImageState
from services.dataset.key_patterns import begins_with
from services.dataset.rows import METADATA

_TABLES = METADATA.tables
_IMAGE, _TEST = _TABLES["image"].c, _TABLES["test_image"].c


class TestSets:
    """Which images of a dataset are never learnt from. They are kept by name, whatever syncs do to the index."""

    __test__ = False

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def check_known(self, dataset: Dataset, image_ids: Sequence[str]) -> None:
        """Each is an image of the index, or in the test set already.

        Raises:
            NotFound: one is neither.
        """
        connection = await self._session.connection()
        known: set[str] = set()
        for table in ("image", "test_image"):
            columns = _TABLES[table].c
            where = and_(columns.dataset_uid == dataset.uid, columns.image_id.in_(image_ids))
            known |= set((await connection.execute(sqlalchemy.select(columns.image_id).where(where))).scalars())
        for image_id in image_ids:
            if image_id not in known:
                name = dataset.image_name(image_id)
                raise NotFound(f"There is no image {name}; list the images, or sync the dataset if the file is new.", name=name)

    async def add(self, dataset: Dataset, image_ids: Sequence[str], prefix: str) -> int:
        """Images by id, or the usable ones whose keys begin with ``prefix``; gives how many were not in it."""
        narrow = _IMAGE.image_id.in_(image_ids) if image_ids else begins_with(_IMAGE.key, prefix)
        there = sqlalchemy.exists().where(and_(_TEST.dataset_uid == dataset.uid, _TEST.image_id == _IMAGE.image_id))
        where = and_(_IMAGE.dataset_uid == dataset.uid, _IMAGE.state == ImageState.USABLE, narrow, not_(there))
        query = sqlalchemy.select(_IMAGE.dataset_uid, _IMAGE.image_id, _IMAGE.key).where(where)
        return await self._changed(dataset, insert(_TABLES["test_image"]).from_select(["dataset_uid", "image_id", "key"], query))

    async def remove(self, dataset: Dataset, image_ids: Sequence[str], prefix: str) -> int:
        """Images by id or key; gives how many were in it."""
        narrow = _TEST.image_id.in_(image_ids) if image_ids else begins_with(_TEST.key, prefix)
        return await self._changed(dataset, delete(_TABLES["test_image"]).where(and_(_TEST.dataset_uid == dataset.uid, narrow)))

    async def page(self, dataset: Dataset, *, size: int, after: Cursor) -> Page[tuple[str, str]]:
        """Ids and keys, in key order."""
        where: ColumnElement[bool] = _TEST.dataset_uid == dataset.uid
        query = sqlalchemy.select(_TEST.image_id, _TEST.key).where(where & (_TEST.key > after[0]) if after else where)
        rows = (await (await self._session.connection()).execute(query.order_by(_TEST.key).limit(size + 1))).all()
        return Page([(row.image_id, row.key) for row in rows[:size]], (rows[size - 1].key,) if len(rows) > size else None)

    async def count(self, dataset: Dataset) -> int:
        """How many images it has."""
        query = sqlalchemy.select(func.count()).where(_TEST.dataset_uid == dataset.uid)
        return (await (await self._session.connection()).execute(query)).scalar_one()

    async def remove_all(self, dataset_uid: str) -> None:
        """Forget that of a deleted dataset."""
        await (await self._session.connection()).execute(delete(_TABLES["test_image"]).where(_TEST.dataset_uid == dataset_uid))

    async def _changed(self, dataset: Dataset, change: sqlalchemy.Insert | sqlalchemy.Delete) -> int:
        before = await self.count(dataset)
        await (await self._session.connection()).execute(change)
        return abs(await self.count(dataset) - before)
