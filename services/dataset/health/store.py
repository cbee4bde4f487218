"""Queries over surveys, reports and what they found."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Row, and_, delete, func, outerjoin, select, tuple_
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.paging import Cursor, Page
from services.dataset.boxes import boxes_from_bytes
from services.dataset.domain import Dataset
from services.dataset.health.report import Code, Found, Phase, PixelFacts, Report, Survey
from services.dataset.health.rows import HealthReportRow, SurveyRow
from services.dataset.image import Image, ImageState, LabelBox, LabelState
from services.dataset.image_store import image_from_row
from services.dataset.indexing.index_store import upsert
from services.dataset.rows import METADATA

_TABLES = METADATA.tables
_IMAGE, _BOXES, _SURVEY, _FOUND, _PIXELS = (_TABLES[name].c for name in ("image", "boxes", "survey", "finding_image", "pixel_facts"))
_OF_BOTH: Final = 1 << 64


class Health:
    """Surveys, reports and findings; rows go past the ORM where there are many."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def want(self, dataset: Dataset) -> None:
        """A survey of the index as it is; one that runs begins anew."""
        survey = await self.survey(dataset.uid) or Survey(dataset.uid)
        await self.put(survey.begun(sync_number=dataset.sync_number, num_images=dataset.counts.num_images))

    async def survey(self, dataset_uid: str) -> Survey | None:
        """Where the survey of a dataset stands; None when none was ever wanted."""
        row = await self._session.get(SurveyRow, dataset_uid, populate_existing=True)
        if row is None:
            return None
        values = row.model_dump()
        return Survey(**values | {"phase": Phase(row.phase)})

    async def put(self, survey: Survey) -> None:
        """Save it."""
        await self._session.merge(SurveyRow(**asdict(survey)))
        await self._session.flush()

    async def wanted(self) -> list[str]:
        """Uids of datasets whose survey is to be done."""
        return list((await self._session.exec(sqlalchemy.select(_SURVEY.dataset_uid).where(_SURVEY.wanted))).scalars())  # type: ignore[call-overload]

    async def report(self, dataset_uid: str) -> Report | None:
        """The last finished one."""
        row = await self._session.get(HealthReportRow, dataset_uid)
        return Report(row.run, row.sync_number, row.digest, row.content, row.create_time) if row else None

    async def put_report(self, dataset_uid: str, report: Report) -> None:
        """In place of the one before."""
        await self._session.merge(HealthReportRow(dataset_uid=dataset_uid, **asdict(report)))

    async def images(self, dataset_uid: str, after: str, limit: int) -> list[tuple[Image, tuple[LabelBox, ...]]]:
        """The next images in key order, with their boxes."""
        beside = and_(_BOXES.dataset_uid == _IMAGE.dataset_uid, _BOXES.image_id == _IMAGE.image_id)
        query = select(_TABLES["image"], _BOXES.data.label("boxes")).select_from(outerjoin(_TABLES["image"], _TABLES["boxes"], beside))
        where = (_IMAGE.dataset_uid == dataset_uid) & (_IMAGE.key > after)
        rows = await self._rows(query.where(where).order_by(_IMAGE.key).limit(limit))
        return [(image_from_row(row), boxes_from_bytes(row.boxes) if row.boxes else ()) for row in rows]

    async def pixels(self, dataset_uid: str, image_ids: Collection[str]) -> dict[str, PixelFacts]:
        """What is known, by image id."""
        where = (_PIXELS.dataset_uid == dataset_uid) & _PIXELS.image_id.in_(image_ids)
        return {row.image_id: _pixel_facts(row) for row in await self._rows(select(_TABLES["pixel_facts"]).where(where))}

    async def put_pixels(self, dataset_uid: str, pixels: Mapping[str, PixelFacts]) -> None:
        """Keep what was seen."""
        rows = [
            {
                "dataset_uid": dataset_uid,
                "image_id": image_id,
                **asdict(facts),
                "dhash": _signed(facts.dhash),
                "content": _signed(facts.content),
                "traits": list(facts.traits),
            }
            for image_id, facts in pixels.items()
        ]
        await upsert(self._session, "pixel_facts", rows)

    async def hashed(self, dataset_uid: str, after: str, limit: int) -> list[tuple[str, str, bool, int, int]]:
        """The next usable images that could be looked at, in key order: key, id, whether it is labelled, hash, content."""
        beside = and_(_PIXELS.dataset_uid == _IMAGE.dataset_uid, _PIXELS.image_id == _IMAGE.image_id)
        columns = (_IMAGE.key, _IMAGE.image_id, _IMAGE.label_state, _PIXELS.dhash, _PIXELS.content)
        query = select(*columns).select_from(sqlalchemy.join(_TABLES["image"], _TABLES["pixel_facts"], beside))
        where = (_IMAGE.dataset_uid == dataset_uid) & (_IMAGE.key > after) & (_IMAGE.state == ImageState.USABLE)
        same = (_PIXELS.store_etag == _IMAGE.store_etag) & (_PIXELS.problem == "")
        rows = await self._rows(query.where(where & same).order_by(_IMAGE.key).limit(limit))
        return [
            (row.key, row.image_id, row.label_state != LabelState.UNLABELED, row.dhash % _OF_BOTH, row.content % _OF_BOTH) for row in rows
        ]

    async def put_found(self, survey: Survey, found: Iterable[Found]) -> None:
        """Save findings of a survey."""
        key = {"dataset_uid": survey.dataset_uid, "run": survey.run}
        await upsert(self._session, "finding_image", [{**key, **asdict(one), "place": one.place or one.key} for one in found])

    async def found(self, dataset_uid: str, run: int, code: Code, *, size: int, after: Cursor) -> Page[Found]:
        """Images of one finding, in order."""
        where = (_FOUND.dataset_uid == dataset_uid) & (_FOUND.run == run) & (_FOUND.code == code)
        if after:
            where &= _FOUND.place > after[0]
        rows = await self._rows(select(_TABLES["finding_image"]).where(where).order_by(_FOUND.place).limit(size + 1))
        items = [Found(code, row.image_id, row.key, row.detail, row.place) for row in rows[:size]]
        return Page(items, (items[-1].place,) if len(rows) > size else None)

    async def count_found(self, dataset_uid: str, run: int, code: Code) -> int:
        """How many there are."""
        where = (_FOUND.dataset_uid == dataset_uid) & (_FOUND.run == run) & (_FOUND.code == code)
        return int((await self._rows(select(func.count()).select_from(_TABLES["finding_image"]).where(where)))[0][0])

    async def tidy(self, dataset_uid: str, run: int, limit: int) -> bool:
        """Remove some findings of other surveys than this one, and facts about images that are gone; False when nothing is left."""
        old = (_FOUND.dataset_uid == dataset_uid) & (_FOUND.run != run)
        found = await self._rows(select(_FOUND.run, _FOUND.code, _FOUND.place).where(old).limit(limit))
        connection = await self._session.connection()
        if found:
            places = tuple_(_FOUND.run, _FOUND.code, _FOUND.place).in_([tuple(row) for row in found])
            await connection.execute(delete(_TABLES["finding_image"]).where(old & places))
            return True
        there = select(_IMAGE.image_id).where((_IMAGE.dataset_uid == dataset_uid) & (_IMAGE.image_id == _PIXELS.image_id)).exists()
        gone = await self._rows(select(_PIXELS.image_id).where((_PIXELS.dataset_uid == dataset_uid) & ~there).limit(limit))
        where = (_PIXELS.dataset_uid == dataset_uid) & _PIXELS.image_id.in_([row.image_id for row in gone])
        await connection.execute(delete(_TABLES["pixel_facts"]).where(where))
        return bool(gone)

    async def remove_all(self, dataset_uid: str) -> None:
        """Forget everything about a dataset."""
        connection = await self._session.connection()
        for name in ("survey", "health_report", "finding_image", "pixel_facts"):
            table = _TABLES[name]
            await connection.execute(delete(table).where(table.c.dataset_uid == dataset_uid))

    async def _rows(self, query: Any) -> Sequence[Row[Any]]:
        return (await (await self._session.connection()).execute(query)).all()


def _signed(value: int) -> int:
    return value - _OF_BOTH if value >= _OF_BOTH // 2 else value


def _pixel_facts(row: Row[Any]) -> PixelFacts:
    traits = tuple(Code(one) for one in row.traits)
    return PixelFacts(row.store_etag, row.dhash % _OF_BOTH, row.content % _OF_BOTH, row.border, row.camera, traits, row.problem)
