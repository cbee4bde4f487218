"""A labelling database of an older program: pages are found by what was done on them before."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from libs.runtime.db import Database
from libs.runtime.migrations import upgrade, upgrade_to
from services.labeling import actions
from services.labeling.boxes import Box, Source
from services.labeling.convert import boxes_to_bytes
from services.labeling.domain import WantedPages
from services.labeling.store import LabelingWork
from tests.integration.conftest import Databases

AT = datetime(2026, 1, 2, tzinfo=UTC)
QUAD = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))


async def test_pages_from_before_are_found_by_confidence_and_editor(databases: Databases) -> None:
    url = databases.url()
    page = {
        "project": "default", "dataset_id": "cards", "width_px": 9, "height_px": 9, "state": "DRAFT", "num_boxes": 2,
        "submitted_sequence": 0, "return_note": "", "file_etag": "", "store_etag": "", "dataset_deleted": False, "revision": 1,
        "update_time": AT,
    }  # fmt: skip
    pages = [
        {**page, "uid": "p1", "image_id": "img_1", "key": "a.png", "sequence": 2, "edited_sequence": 1, "num_suggestions": 2},
        {**page, "uid": "p2", "image_id": "img_2", "key": "b.png", "sequence": 0, "edited_sequence": 0, "num_suggestions": 0},
    ]
    boxes = (Box("s1", QUAD, "x", source=Source.SUGGESTED, confidence=0.7), Box("s2", QUAD, "y", source=Source.SUGGESTED, confidence=0.3))
    contents = [
        {"page_uid": "p1", "boxes": boxes_to_bytes((*boxes, Box("b", QUAD, "z"))), "used_ids": []},
        {"page_uid": "p2", "boxes": b"", "used_ids": []},
    ]
    operation = {"page_uid": "p1", "create_time": AT, "data": b""}
    operations = [
        {**operation, "sequence": 1, "operation_id": "one", "actor": "anna"},
        {**operation, "sequence": 2, "operation_id": "two", "actor": "model"},
    ]
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: upgrade_to("labeling", sync, "0003"))
        made = sa.MetaData()
        await connection.run_sync(made.reflect)
        for table, rows in (("page", pages), ("content", contents), ("operation", operations)):
            await connection.execute(sa.insert(made.tables[table]), rows)
    await engine.dispose()
    await upgrade("labeling", url)

    database = Database(url)
    work = database.work(LabelingWork)

    async def found(wanted: WantedPages) -> list[tuple[str, float | None, str]]:
        listed = await actions.list_pages(work, "projects/default/datasets/cards", wanted, size=9, after=())
        return [(one.key, one.lowest_confidence, one.last_editor) for one in listed.items]

    assert await found(WantedPages()) == [("a.png", 0.3, "anna"), ("b.png", None, "")]
    assert await found(WantedPages(max_confidence=0.3, editor="anna")) == [("a.png", 0.3, "anna")]
    assert await found(WantedPages(max_confidence=0.2)) == []
    await database.close()
