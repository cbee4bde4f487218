"""The search index: FTS5 in SQLite, a GIN index over a tsvector in PostgreSQL; both keep which images have a word, not where.

It is written in the transaction that writes the boxes. An image's entry is taken out before its boxes change: FTS5 keeps no copy of
what was put in and has to be told.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, String, cast, delete, insert, select, text
from sqlmodel.ext.asyncio.session import AsyncSession

from services.dataset.boxes import boxes_from_bytes
from services.dataset.image import LabelBox
from services.dataset.rows import METADATA
from services.dataset.search.words import dataset_word, entry_of, words_of

_ENTRY, _BOXES, _IMAGE = (METADATA.tables[name] for name in ("search_entry", "boxes", "image"))
_LITE: Final = {
    "last": text("SELECT seq FROM sqlite_sequence WHERE name = 'search_entry'"),
    "put": text("INSERT INTO sql_search_words (rowid, words) VALUES (:id, :words)"),
    "remove": text("INSERT INTO sql_search_words (sql_search_words, rowid, words) VALUES ('delete', :id, :words)"),
    "find": text("SELECT rowid FROM sql_search_words WHERE sql_search_words MATCH :words AND rowid > :after ORDER BY rowid LIMIT :size"),
}
_POSTGRES_FIND: Final = text(
    "SELECT id FROM search_entry WHERE array_to_tsvector(string_to_array(words, ' ')) @@ CAST(:words AS tsquery) AND id > :after "
    "ORDER BY id LIMIT :size"
)


class Search:
    """Queries and changes of the index, and walks over boxes."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def put(self, dataset_uid: str, found: Mapping[str, str]) -> None:
        """Add images, by their ids, that have no entry, with what ``words_of`` says of them; those without words need none."""
        keys = [{"dataset_uid": dataset_uid, "image_id": image_id} for image_id, its in found.items() if its]
        if not keys:
            return
        connection = await self._session.connection()
        words = [entry_of(dataset_uid, its) for its in found.values() if its]
        if connection.dialect.name == "postgresql":
            await connection.execute(insert(_ENTRY), [{**key, "words": its} for key, its in zip(keys, words, strict=True)])
            return
        # Nobody else writes to SQLite meanwhile. Asking each row for the id it got would take as long as its words.
        first = ((await connection.execute(_LITE["last"])).scalar() or 0) + 1
        await connection.execute(insert(_ENTRY), [{"id": entry, **key} for entry, key in enumerate(keys, first)])
        await connection.execute(_LITE["put"], [{"id": entry, "words": its} for entry, its in enumerate(words, first)])

    async def take_out(self, dataset_uid: str, image_ids: Collection[str]) -> None:
        """Forget images, before their boxes change or go."""
        if not image_ids:
            return
        connection = await self._session.connection()
        where = (_ENTRY.c.dataset_uid == dataset_uid) & _ENTRY.c.image_id.in_(list(image_ids))
        if connection.dialect.name == "sqlite":
            await self._take_out_words(where)
        await connection.execute(delete(_ENTRY).where(where))

    async def _take_out_words(self, where: ColumnElement[bool]) -> None:
        connection = await self._session.connection()
        joined = _ENTRY.join(_BOXES, (_BOXES.c.dataset_uid == _ENTRY.c.dataset_uid) & (_BOXES.c.image_id == _ENTRY.c.image_id))
        rows = (await connection.execute(select(_ENTRY.c.id, _ENTRY.c.dataset_uid, _BOXES.c.data).select_from(joined).where(where))).all()
        gone = [
            {"id": row.id, "words": entry_of(row.dataset_uid, words_of(box.text for box in boxes_from_bytes(row.data)))} for row in rows
        ]
        if gone:
            await connection.execute(_LITE["remove"], gone)

    async def candidates(self, dataset_uid: str, words: Sequence[str], *, after: int, size: int) -> list[tuple[int, str]]:
        """Entry and id of images that have all these words, in order of their entries."""
        connection = await self._session.connection()
        is_lite = connection.dialect.name == "sqlite"
        asked = [*words, dataset_word(dataset_uid)]
        joined = " AND ".join(asked) if is_lite else " & ".join(f"'{word}'" for word in asked)
        statement = _LITE["find"] if is_lite else _POSTGRES_FIND
        entries = list((await connection.execute(statement, {"words": joined, "after": after, "size": size})).scalars())
        rows = (await connection.execute(select(_ENTRY.c.id, _ENTRY.c.image_id).where(_ENTRY.c.id.in_(entries)))).all()
        image_ids = {row.id: row.image_id for row in rows}
        return [(entry, image_ids[entry]) for entry in entries]

    async def boxes(self, dataset_uid: str, image_ids: Collection[str]) -> dict[str, tuple[LabelBox, ...]]:
        """Of these images, at most a few hundred."""
        connection = await self._session.connection()
        where = (_BOXES.c.dataset_uid == dataset_uid) & _BOXES.c.image_id.in_(list(image_ids))
        rows = (await connection.execute(select(_BOXES.c.image_id, _BOXES.c.data).where(where))).all()
        return {row.image_id: boxes_from_bytes(row.data) for row in rows}

    async def walk(
        self, dataset_uid: str, *, after: str, end: str, size: int, finding: str = "", min_boxes: int = 0
    ) -> list[tuple[str, str, bool]]:
        """Key, id and whether the cheap conditions hold, of the next images in key order; ``end`` is empty, or a key they lie before."""
        where = (_IMAGE.c.dataset_uid == dataset_uid) & (_IMAGE.c.key > after)
        if end:
            where &= _IMAGE.c.key < end
        fits = _IMAGE.c.num_boxes >= min_boxes
        if finding:
            code = f'"code": "{finding}"'
            fits &= cast(_IMAGE.c.image_findings, String).contains(code, autoescape=True) | cast(_IMAGE.c.label_findings, String).contains(
                code, autoescape=True
            )
        connection = await self._session.connection()
        query = select(_IMAGE.c.key, _IMAGE.c.image_id, fits.label("fits")).where(where).order_by(_IMAGE.c.key).limit(size)
        return [(row.key, row.image_id, bool(row.fits)) for row in await connection.execute(query)]
