"""Queries over datasets, and the unit of work over all tables of the service; rows never leave the stores."""

from dataclasses import asdict, fields
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, delete
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.db import UnitOfWork, WorkFactory
from libs.runtime.errors import DatasetInTrash, NotFound
from libs.runtime.names import DATASET
from libs.runtime.paging import Cursor, Page
from services.dataset.domain import Counts, Dataset, DatasetState, Progress, StorageType
from services.dataset.health.normalization_store import Normalizations
from services.dataset.health.store import Health
from services.dataset.image_store import Images
from services.dataset.indexing.index_store import Index
from services.dataset.rows import METADATA, DatasetRow, PurgeRow
from services.dataset.search.store import Search
from services.dataset.transfer.store import LabelImports
from services.dataset.uploads.store import Uploads
from services.dataset.versions.diff_store import VersionDiffs
from services.dataset.versions.store import Versions
from services.dataset.versions.test_set_store import TestSets

__all__ = ["METADATA", "DatasetWork", "Datasets", "Images", "Versions", "Work"]

_DATASET, _PURGE = (METADATA.tables[name].c for name in ("dataset", "purge"))


class Datasets:
    """Datasets, and deleted ones that are still to be purged."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, name: str, *, lock: bool = False, even_trashed: bool = False) -> Dataset:
        """The dataset of this name; with ``lock`` nobody else changes it before this unit ends.

        Raises:
            NotFound: there is none.
            DatasetInTrash: it is there, and ``even_trashed`` is not given.
        """
        ids = DATASET.parse(name)
        found = await self._find(*_named(ids["project"], ids["dataset"]), lock=lock)
        if found is None:
            raise NotFound(f"There is no dataset {name}; list the datasets to see their names.", name=name)
        if found.is_trashed and not even_trashed:
            raise DatasetInTrash.named(name)
        return found

    async def find(self, uid: str, *, lock: bool = False, even_trashed: bool = False) -> Dataset | None:
        """The dataset with this uid; None once it was deleted, and while it is in the trash unless ``even_trashed``."""
        found = await self._find(_DATASET.uid == uid, lock=lock)
        return None if found and found.is_trashed and not even_trashed else found

    async def created_by(self, project: str, request_id: str) -> Dataset | None:
        """What an earlier call with this request id created."""
        return await self._find(_DATASET.project == project, _DATASET.request_id == request_id) if request_id else None

    async def named(self, project: str, dataset_id: str) -> Dataset | None:
        """What has taken the name; it may be in the trash."""
        return await self._find(*_named(project, dataset_id))

    async def page(self, project: str, *, size: int, after: Cursor, trashed: bool = False) -> Page[Dataset]:
        """In order of their ids, those in the trash or all others."""
        is_there = _DATASET.trash_time.is_not(None) if trashed else _DATASET.trash_time.is_(None)
        query = select(DatasetRow).where(_DATASET.project == project, is_there).order_by(_DATASET.dataset_id)
        if after:
            query = query.where(_DATASET.dataset_id > after[0])
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_dataset(row) for row in rows[:size]], (rows[size - 1].dataset_id,) if len(rows) > size else None)

    async def wanting_sync(self) -> list[str]:
        """Uids of datasets whose sync has not finished."""
        query = select(_DATASET.uid).where(_DATASET.sync_wanted, _DATASET.trash_time.is_(None)).order_by(_DATASET.update_time)
        return list((await self._session.exec(query)).all())

    async def overdue(self, now: datetime) -> list[str]:
        """Uids of datasets whose time in the trash is over."""
        return list((await self._session.exec(select(_DATASET.uid).where(_DATASET.purge_time <= now))).all())

    def add(self, dataset: Dataset, *, request_id: str) -> None:
        """A new one."""
        self._session.add(DatasetRow(uid=dataset.uid, request_id=request_id or None, **_dataset_fields(dataset)))

    async def put(self, dataset: Dataset) -> None:
        """Save changes of one that is there."""
        row = await self._session.get_one(DatasetRow, dataset.uid)
        for field, value in _dataset_fields(dataset).items():
            setattr(row, field, value)

    async def delete(self, dataset: Dataset) -> None:
        """Take it out of sight; ``purges`` names it until its index is gone."""
        await self._session.delete(await self._session.get_one(DatasetRow, dataset.uid))
        self._session.add(PurgeRow(uid=dataset.uid, project=dataset.project, dataset_id=dataset.dataset_id))

    async def purges(self) -> list[tuple[str, str]]:
        """Uid and name of deleted datasets that still have rows."""
        rows = (await self._session.exec(select(PurgeRow))).all()
        return [(row.uid, DATASET.format(project=row.project, dataset=row.dataset_id)) for row in rows]

    async def purged(self, uid: str) -> None:
        """Nothing of it is left."""
        await self._session.exec(delete(PurgeRow).where(_PURGE.uid == uid))

    async def _find(self, *conditions: ColumnElement[bool], lock: bool = False) -> Dataset | None:
        query = select(DatasetRow).where(*conditions)
        row = (await self._session.exec(query.with_for_update() if lock else query)).one_or_none()
        return _dataset(row) if row else None


class DatasetWork(UnitOfWork):
    """One transaction of the dataset service."""

    service = "dataset"
    metadata = METADATA

    @cached_property
    def datasets(self) -> Datasets:
        """Datasets."""
        return Datasets(self.session)

    @cached_property
    def images(self) -> Images:
        """Their index."""
        return Images(self.session)

    @cached_property
    def index(self) -> Index:
        """The same as syncs use it."""
        return Index(self.session)

    @cached_property
    def search(self) -> Search:
        """The same by what labels say."""
        return Search(self.session)

    @cached_property
    def versions(self) -> Versions:
        """Their versions."""
        return Versions(self.session)

    @cached_property
    def health(self) -> Health:
        """What surveys found."""
        return Health(self.session)

    @cached_property
    def normalizations(self) -> Normalizations:
        """Where the normalising of labels stands."""
        return Normalizations(self.session)

    @cached_property
    def version_diffs(self) -> VersionDiffs:
        """Differences between versions."""
        return VersionDiffs(self.session)

    @cached_property
    def test_sets(self) -> TestSets:
        """Images that are never learnt from."""
        return TestSets(self.session)

    @cached_property
    def uploads(self) -> Uploads:
        """What is on its way into them."""
        return Uploads(self.session)

    @cached_property
    def label_imports(self) -> LabelImports:
        """Their imports of labels."""
        return LabelImports(self.session)


Work = WorkFactory[DatasetWork]


def _named(project: str, dataset_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _DATASET.project == project, _DATASET.dataset_id == dataset_id


def _dataset(row: DatasetRow) -> Dataset:
    return Dataset(
        uid=row.uid,
        project=row.project,
        dataset_id=row.dataset_id,
        description=row.description,
        storage_type=StorageType(row.storage_type),
        path=row.path,
        connection=row.connection or "",
        state=DatasetState(row.state),
        error_message=row.error_message,
        counts=Counts(**{name.name: getattr(row, name.name) for name in fields(Counts)}),
        sync_number=row.sync_number,
        sync_wanted=row.sync_wanted,
        progress=Progress(row.num_seen, row.num_changed, row.images_per_second, row.cursor),
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
        trash_time=row.trash_time,
        purge_time=row.purge_time,
    )


def _dataset_fields(dataset: Dataset) -> dict[str, Any]:
    values = asdict(dataset)
    del values["uid"]
    counts, progress = values.pop("counts"), values.pop("progress")
    return {**values, **counts, **progress}
