"""What can be done with the trash: one function a verb."""

from datetime import timedelta

from inkwright.dataset.v1.dataset_events_pb2 import DatasetDeleted, DatasetRestored, DatasetTrashed
from libs.runtime.errors import WrongState
from libs.runtime.paging import Cursor, Page
from services.dataset.domain import Dataset, index_work
from services.dataset.store import DatasetWork, Work


async def trash_dataset(work: Work, name: str, *, etag: str, days: int) -> None:
    """Move a dataset to the trash for so many days; what runs on it stops after its batch.

    Raises:
        NotFound: no such dataset.
        DatasetInTrash: it is there already.
        Conflict: the etag is stale.
    """
    async with work() as w:
        dataset = await w.datasets.get(name, lock=True)
        dataset.check_etag(etag)
        await w.datasets.put(dataset.trashed(at=w.now, until=w.now + timedelta(days=days)))
        w.tell(DatasetTrashed(dataset=name), resource="dataset", id=dataset.dataset_id)
        await w.commit()


async def list_trash(work: Work, project: str, *, size: int, after: Cursor) -> Page[Dataset]:
    """In order of their ids."""
    async with work(read_only=True) as w:
        return await w.datasets.page(project, size=size, after=after, trashed=True)


async def restore_dataset(work: Work, name: str) -> Dataset:
    """Take a dataset out of the trash; what was stopped goes on, and a sync is wanted, for its folder may have changed.

    Raises:
        NotFound: no such dataset.
        WrongState: it is not in the trash.
    """
    async with work() as w:
        dataset = (await _in_trash(w, name)).restored(at=w.now).want_sync(at=w.now)
        await w.datasets.put(dataset)
        w.tell(DatasetRestored(dataset=name), resource="dataset", id=dataset.dataset_id)
        await w.note_origin(index_work(dataset.uid))
        await w.commit()
    return dataset


async def purge_dataset(work: Work, name: str, *, etag: str) -> None:
    """Delete a dataset in the trash for good; the indexer takes its index apart and tells of each image.

    Raises:
        NotFound: no such dataset.
        WrongState: it is not in the trash.
        Conflict: the etag is stale.
    """
    async with work() as w:
        dataset = await _in_trash(w, name)
        dataset.check_etag(etag)
        await _delete(w, dataset)
        await w.note_origin(index_work(dataset.uid))
        await w.commit()


async def purge_overdue(work: Work, uid: str) -> None:
    """Delete a dataset whose time in the trash is over; nothing where it was restored meanwhile."""
    async with work() as w:
        dataset = await w.datasets.find(uid, lock=True, even_trashed=True)
        if dataset is not None and dataset.purge_time is not None and dataset.purge_time <= w.now:
            await _delete(w, dataset)
            await w.commit()


async def _in_trash(w: DatasetWork, name: str) -> Dataset:
    dataset = await w.datasets.get(name, lock=True, even_trashed=True)
    if not dataset.is_trashed:
        raise WrongState(f"{name} is not in the trash; list the trash to see what is.", name=name)
    return dataset


async def _delete(w: DatasetWork, dataset: Dataset) -> None:
    await w.datasets.delete(dataset)
    w.tell(DatasetDeleted(dataset=dataset.name), resource="dataset", id=dataset.dataset_id)
