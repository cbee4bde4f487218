"""Queries over the index for those who read it or change single rows; what a sync does to it stands in ``index_store``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy
from sqlalchemy import ColumnElement, and_, delete, func, or_, true
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.errors import NotFound
from libs.runtime.names import new_id
from libs.runtime.paging import Cursor, Page
from services.dataset.boxes import boxes_from_bytes, boxes_to_bytes
from services.dataset.domain import Dataset
from services.dataset.image import KINDS, Finding, Image, ImageState, LabelBox, LabelState, Severity
from services.dataset.pairing import file_stem_of
from services.dataset.rows import METADATA, BoxesRow, ImageRow, ReplacedLabelsRow
from services.dataset.search.store import Search
from services.dataset.search.words import words_of

_TABLE = METADATA.tables["image"]
_IMAGE = _TABLE.c
MAX_COUNTED: Final = 10_000
"""Matches of a search are counted so far."""
_PLAIN: Final = tuple(
    field.name for field in fields(Image) if field.name not in ("image_id", "image_findings", "label_findings", "shares_label_with")
)


class Images:
    """The index."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._search = Search(session)

    async def get(self, dataset: Dataset, image_id: str) -> Image:
        """One row.

        Raises:
            NotFound: the index has no such image.
        """
        row = await self._session.get(ImageRow, (dataset.uid, image_id))
        if row is None:
            name = dataset.image_name(image_id)
            raise NotFound(f"There is no image {name}; list the images, or sync the dataset if the file is new.", name=name)
        return image_from_row(row)

    async def many(self, dataset_uid: str, image_ids: Sequence[str]) -> dict[str, Image]:
        """Those of the ids that are there, at most a few hundred."""
        where = (_IMAGE.dataset_uid == dataset_uid) & _IMAGE.image_id.in_(image_ids)
        rows = (await self._session.exec(select(ImageRow).where(where))).all()
        return {row.image_id: image_from_row(row) for row in rows}

    async def boxes(self, dataset_uid: str, image_id: str) -> tuple[LabelBox, ...]:
        """What the index holds of its label file."""
        row = await self._session.get(BoxesRow, (dataset_uid, image_id))
        return boxes_from_bytes(row.data) if row else ()

    async def page(
        self,
        dataset: Dataset,
        *,
        size: int,
        after: Cursor,
        state: ImageState | None = None,
        label_state: LabelState | None = None,
        key: str = "",
        image_ids: Sequence[str] = (),
    ) -> tuple[Page[Image], int]:
        """In key order, and how many match over all pages: all of them, or with ``key`` at most ``MAX_COUNTED``.

        Rows come in key order out of one index for each state that is asked for, so a page costs the same wherever it lies. What is
        not narrowed down by key or id is counted already.
        """
        kinds = [kind for kind in KINDS if state in (None, kind[0]) and label_state in (None, kind[1])]
        is_narrow = bool(key or image_ids)
        sources = _sources(kinds if state or label_state else [], key, image_ids)
        conditions = [(_IMAGE.dataset_uid == dataset.uid) & source for source in sources]
        if is_narrow:
            counted = [select(_IMAGE.image_id).where(one).limit(MAX_COUNTED).subquery() for one in conditions]
            numbers = [(await self._session.exec(select(func.count()).select_from(one))).one() for one in counted]
            total = min(sum(numbers), MAX_COUNTED)
        else:
            total = sum(dataset.counts.of_kind(*kind) for kind in kinds)
        # Past the ORM, which takes twice as long for a page of a thousand.
        connection = await self._session.connection()
        rows: list[Any] = []
        for one in conditions:
            query = sqlalchemy.select(_TABLE).where(one & (_IMAGE.key > after[0]) if after else one)
            # A few hundred rows by their ids: told to order them, SQLite would rather go through all keys.
            rows += (await connection.execute(query if image_ids else query.order_by(_IMAGE.key).limit(size + 1))).all()
        rows.sort(key=lambda row: row.key)
        return Page([image_from_row(row) for row in rows[:size]], (rows[size - 1].key,) if len(rows) > size else None), total

    async def of_file_stem(self, dataset_uid: str, file_stem: str, limit: int) -> list[Image]:
        """Images of this file name, whatever their folder and extension; in key order, at most ``limit``."""
        where = (_IMAGE.dataset_uid == dataset_uid) & (_IMAGE.file_stem == file_stem)
        rows = (await self._session.exec(select(ImageRow).where(where).order_by(_IMAGE.key).limit(limit))).all()
        return [image_from_row(row) for row in rows]

    async def put(self, dataset_uid: str, image: Image, boxes: tuple[LabelBox, ...] | None = None) -> None:
        """Save a new or changed row; ``None`` leaves its boxes as they are."""
        fields = image_values(image)
        row = await self._session.get(ImageRow, (dataset_uid, image.image_id))
        if row is None:
            self._session.add(ImageRow(dataset_uid=dataset_uid, image_id=image.image_id, **fields))
            # The boxes' foreign key needs the row to be there first.
            await self._session.flush()
        else:
            for field, value in fields.items():
                setattr(row, field, value)
        if boxes is not None:
            await self._search.take_out(dataset_uid, [image.image_id])
            await self._search.put(dataset_uid, {image.image_id: words_of(box.text for box in boxes)})
            await self._session.merge(BoxesRow(dataset_uid=dataset_uid, image_id=image.image_id, data=boxes_to_bytes(boxes)))

    async def remove(self, dataset_uid: str, image_ids: Iterable[str]) -> None:
        """Forget rows and their boxes."""
        ids = list(image_ids)
        await self._search.take_out(dataset_uid, ids)
        where = (_IMAGE.dataset_uid == dataset_uid) & _IMAGE.image_id.in_(ids)
        await self._session.exec(delete(ImageRow).where(where))

    async def some(self, dataset_uid: str, limit: int) -> list[Image]:
        """Any rows, at most ``limit``."""
        rows = (await self._session.exec(select(ImageRow).where(_IMAGE.dataset_uid == dataset_uid).limit(limit))).all()
        return [image_from_row(row) for row in rows]

    async def keep_replaced(self, dataset: Dataset, image: Image, etag: str, data: bytes, *, at: datetime) -> None:
        """Keep the label file that is about to be replaced."""
        self._session.add(
            ReplacedLabelsRow(
                uid=new_id("old"),
                dataset=dataset.name,
                image_id=image.image_id,
                label_key=image.label_key,
                etag=etag,
                data=data,
                replace_time=at,
            )
        )


def _sources(kinds: Sequence[tuple[ImageState, LabelState]], key: str, image_ids: Sequence[str]) -> list[ColumnElement[bool]]:
    """Conditions without a row in common, each of which one index answers in key order."""
    of_kinds = [(_IMAGE.state == state) & (_IMAGE.label_state == label_state) for state, label_state in kinds]
    narrow = [or_(*of_kinds)] if of_kinds else []
    if image_ids:
        narrow.append(_IMAGE.image_id.in_(image_ids))
    if key:
        return [and_(one, *narrow) for one in (_IMAGE.key == key, _IMAGE.file_stem == key)]
    if image_ids:
        return [and_(*narrow)]
    return list(of_kinds) or [true()]


def image_from_row(row: Any) -> Image:
    """From an ``ImageRow``, or a row with its columns."""
    return Image(
        image_id=row.image_id,
        key=row.key,
        state=ImageState(row.state),
        label_state=LabelState(row.label_state),
        width_px=row.width_px,
        height_px=row.height_px,
        size_bytes=row.size_bytes,
        store_etag=row.store_etag,
        label_key=row.label_key,
        label_etag=row.label_etag,
        label_digest=row.label_digest,
        num_boxes=row.num_boxes,
        image_findings=_findings(row.image_findings),
        label_findings=_findings(row.label_findings),
        shares_label_with=tuple(row.shares_label_with),
        update_time=row.update_time,
    )


def image_values(image: Image) -> dict[str, Any]:
    """The columns of its row, those of the primary key apart."""
    # Not ``asdict``, which copies deeply: a first sync writes a million of these.
    values = {name: getattr(image, name) for name in _PLAIN}
    lists = {
        "image_findings": [asdict(finding) for finding in image.image_findings],
        "label_findings": [asdict(finding) for finding in image.label_findings],
        "shares_label_with": list(image.shares_label_with),
    }
    return {**values, **lists, "file_stem": file_stem_of(image.key), "source_tag": image.source_tag}


def _findings(stored: Iterable[Mapping[str, Any]]) -> tuple[Finding, ...]:
    return tuple(Finding(Severity(one["severity"]), one["code"], one["message"], one["line"]) for one in stored)
