"""Queries over the normalising of labels."""

from dataclasses import asdict

from sqlalchemy import delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.paging import Cursor, Page
from services.dataset.health.normalization import FileResult, Normalization, Result
from services.dataset.health.rows import NormalizationRow
from services.dataset.indexing.index_store import upsert
from services.dataset.rows import METADATA

_TABLES = METADATA.tables
_WORK, _FILE = _TABLES["normalization"].c, _TABLES["normalized_file"].c


class Normalizations:
    """One a dataset, and its files."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, dataset_uid: str) -> Normalization | None:
        """The last one; None when there was none."""
        row = await self._session.get(NormalizationRow, dataset_uid, populate_existing=True)
        return Normalization(**row.model_dump()) if row else None

    async def wanted(self) -> list[str]:
        """Uids of datasets whose labels are to be normalised."""
        connection = await self._session.connection()
        return list((await connection.execute(select(_WORK.dataset_uid).where(_WORK.wanted))).scalars())

    async def put(self, work: Normalization) -> None:
        """Save it."""
        await self._session.merge(NormalizationRow(**asdict(work)))

    async def put_file(self, dataset_uid: str, file: FileResult) -> None:
        """Save what became of a file."""
        await upsert(self._session, "normalized_file", [{"dataset_uid": dataset_uid, **asdict(file)}])

    async def files(self, dataset_uid: str, *, size: int, after: Cursor) -> Page[FileResult]:
        """In key order."""
        where = _FILE.dataset_uid == dataset_uid
        if after:
            where &= _FILE.key > after[0]
        connection = await self._session.connection()
        rows = (await connection.execute(select(_TABLES["normalized_file"]).where(where).order_by(_FILE.key).limit(size + 1))).all()
        items = [FileResult(row.image_id, row.key, Result(row.result), row.num_lines, row.message) for row in rows[:size]]
        return Page(items, (items[-1].key,) if len(rows) > size else None)

    async def remove(self, dataset_uid: str) -> None:
        """Forget what was done."""
        connection = await self._session.connection()
        for name in ("normalization", "normalized_file"):
            await connection.execute(delete(_TABLES[name]).where(_TABLES[name].c.dataset_uid == dataset_uid))
