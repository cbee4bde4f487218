"""A database of an older program: its versions are read, compared and listed as before."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from libs.runtime.db import Database
from libs.runtime.migrations import upgrade, upgrade_to
from services.dataset.store import DatasetWork
from services.dataset.versions import actions as version_actions
from services.dataset.versions.version import VersionFilter, VersionPart
from tests.integration.conftest import Databases

AT = datetime(2026, 1, 2, tzinfo=UTC)
NAME = "projects/default/datasets/cards"


async def test_versions_from_before_filters_stay_what_they_were(databases: Databases) -> None:
    url = databases.url()
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: upgrade_to("dataset", sync, "0005"))
        dataset = {
            "uid": "ds_1", "project": "default", "dataset_id": "cards", "description": "", "storage_type": "LOCAL", "path": "/x",
            "state": "READY", "error_message": "", "num_images": 0, "num_labeled": 0, "num_unlabeled": 0, "num_rejected": 0, "num_boxes": 0,
            "num_with_findings": 0, "sync_number": 1, "sync_wanted": False, "num_seen": 0, "num_changed": 0, "images_per_second": 0.0,
            "revision": 1, "create_time": AT, "update_time": AT,
        }  # fmt: skip
        version = {"version_id": "v-1", "dataset_uid": "ds_1", "request_id": "r", "digest": "d", "num_images": 2, "num_labeled": 1}
        entry = {"version_id": "v-1", "size_bytes": 9, "store_etag": "e", "width_px": 40, "height_px": 50, "boxes": b""}
        entries = [
            {**entry, "image_id": "img_1", "key": "a.png", "label_digest": "x"},
            {**entry, "image_id": "img_2", "key": "b.png", "label_digest": ""},
        ]
        for table, rows in (("dataset", [dataset]), ("version", [{**version, "create_time": AT}]), ("version_entry", entries)):
            made = sa.MetaData()
            await connection.run_sync(made.reflect)
            await connection.execute(sa.insert(made.tables[table]), rows)
    await engine.dispose()
    await upgrade("dataset", url)

    database = Database(url)
    work = database.work(DatasetWork)
    _, old = await version_actions.get_version(work, f"{NAME}/versions/v-1")
    assert (old.digest, old.num_images, old.num_labeled, old.num_test, old.filter) == ("d", 2, 1, 0, VersionFilter())
    assert old.parts == (VersionPart(NAME, 2, 1, 0),)
    _, page = await version_actions.list_version_entries(work, f"{NAME}/versions/v-1", size=9, after=())
    assert [(one.part, one.key, one.label_digest, one.is_test) for one in page.items] == [
        (0, "a.png", "x", False), (0, "b.png", "", False),
    ]  # fmt: skip
    _, new = await version_actions.freeze_dataset(work, NAME, further=(), filter=VersionFilter(), request_id="again")
    counts, _ = await version_actions.diff_versions(work, f"{NAME}/versions/v-1", f"{NAME}/versions/{new.version_id}", size=9, after=())
    assert counts.num_removed == 2
    await database.close()
