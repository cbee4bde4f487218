"""The background task that keeps indexes equal to their folders and takes deleted ones apart."""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from inkwright.dataset.v1.dataset_events_pb2 import ImageChanged, ImageRemoved, ImagesIndexed
from libs.runtime import logs, traces
from libs.runtime.call_context import Origin
from libs.runtime.errors import Fault
from libs.runtime.names import DATASET, IMAGE
from libs.runtime.object_store import ObjectStore
from services.dataset.domain import Dataset, Image, NoImages, Progress, StorageType, image_id_of, index_work
from services.dataset.examine import Examined, examine
from services.dataset.pairing import Candidate, StoredFile, compare, pair
from services.dataset.store import DatasetWork, Work
from services.dataset.stores import Stores

log = logs.get_logger()

BATCH: Final = 100
"""Images a transaction; ``ImagesIndexed`` may name 500."""
DECODERS: Final = 2
"""Images in memory at one moment, over all syncs."""
TICK_SECONDS: Final = 2.0
"""Another process may have been asked; this one is woken only by its own callers."""

T = TypeVar("T")


class Indexer:
    """Syncs every dataset that wants it, one sync a dataset at a time, and purges deleted ones.

    What is to be done stands in the database, so a restart goes on where the last process ended.
    """

    def __init__(self, work: Work, stores: Stores) -> None:
        self._work = work
        self._stores = stores
        self._woken = asyncio.Event()
        self._decoding = asyncio.Semaphore(DECODERS)

    def wake(self) -> None:
        """Look for work now."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until ``stopping`` is set; a sync then ends after its batch and is taken up by the next process."""
        stop_watch = asyncio.create_task(self._wake_on(stopping), name="indexer-stop")
        running: dict[str, asyncio.Task[None]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                while not stopping.is_set():
                    self._woken.clear()
                    async with self._work(read_only=True) as w:
                        wanted, purges = await w.datasets.wanting_sync(), await w.datasets.purges()
                        origins = {uid: await w.origin_of(index_work(uid)) for uid in (*wanted, *(uid for uid, _ in purges))}
                    running = {uid: task for uid, task in running.items() if not task.done()}
                    jobs = {uid: self._sync_and_settle(uid, stopping) for uid in wanted if uid not in running}
                    jobs |= {uid: self._purge(uid, name, stopping) for uid, name in purges if uid not in running}
                    for uid, job in jobs.items():
                        running[uid] = group.create_task(_for_request(origins[uid], job), name=f"index-{uid}")
                        # Whatever was asked for while it ran is seen when it ends.
                        running[uid].add_done_callback(lambda _task: self._woken.set())
                    await self._wait()
        finally:
            stop_watch.cancel()

    async def _wake_on(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._woken.set()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _sync_and_settle(self, uid: str, stopping: asyncio.Event) -> None:
        with logs.bind(dataset=uid):
            try:
                await self._sync(uid, stopping)
            except Fault as fault:
                await self._fail(uid, fault.message)
            except OSError as error:
                await self._fail(uid, f"The folder could not be read ({error.strerror or error}); repair that, then sync again.")
            except Exception as error:
                log.error("sync_crashed", exc_info=error)
                await self._fail(uid, "Something went wrong inside Inkwright; look at the dataset service's log, then sync again.")

    async def _sync(self, uid: str, stopping: asyncio.Event) -> None:
        async with self._work(read_only=True) as w:
            dataset, indexed = await w.datasets.find(uid), await w.images.source_tags(uid)
        if dataset is None:
            return
        store = await self._stores.open(dataset.place)
        candidates = pair(await _list(store))
        if not candidates:
            raise _no_images(dataset)
        difference = await asyncio.to_thread(compare, candidates, indexed)
        log.info("sync_began", num_images=len(candidates), num_to_examine=len(difference.to_examine), num_gone=len(difference.gone))
        meter = _Meter(difference.num_same)
        for batch in _batches(difference.to_examine):
            examined = await self._examine(store, uid, batch)
            if stopping.is_set() or not await self._take_over(uid, examined, indexed, meter.add(len(batch))):
                return
        for gone in _batches(difference.gone):
            async with self._work() as w:
                current = await w.datasets.find(uid, lock=True)
                if current is None:
                    return
                await w.datasets.put(await _remove(w, current, await w.images.many(uid, gone)))
                await w.commit()
        async with self._work() as w:
            current = await w.datasets.find(uid, lock=True)
            if current is not None:
                await w.datasets.put(current.synced(at=w.now))
                await w.commit()
                log.info("sync_finished", num_images=current.counts.num_images)

    async def _examine(self, store: ObjectStore, uid: str, batch: Sequence[Candidate]) -> list[Examined]:
        async with self._work(read_only=True) as w:
            previous = await w.images.many(uid, [image_id_of(candidate.image.key) for candidate in batch])
            now = w.now

        async def one(candidate: Candidate) -> Examined | None:
            async with self._decoding:
                return await examine(store, candidate, previous.get(image_id_of(candidate.image.key)), at=now)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(candidate)) for candidate in batch]
        except ExceptionGroup as group:
            # The store refuses, or is away: what one image was told, the others would have been told too.
            fault = next((error for error in group.exceptions if isinstance(error, Fault)), None)
            if fault is None:
                raise
            raise fault from group
        return [found for task in tasks if (found := task.result()) is not None]

    async def _take_over(self, uid: str, examined: Sequence[Examined], indexed: dict[str, str], progress: Progress) -> bool:
        """Save a batch with its facts; False when the dataset is gone."""
        async with self._work() as w:
            dataset = await w.datasets.find(uid, lock=True)
            if dataset is None:
                return False
            rows = await w.images.many(uid, [found.image.image_id for found in examined])
            opened: list[str] = []
            for found in examined:
                new, old = found.image, rows.get(found.image.image_id)
                if (old.source_tag if old else None) != indexed.get(new.image_id):
                    # Labels were written through Inkwright meanwhile; the next sync looks at it again.
                    continue
                dataset = dataset.counted(old, new)
                await w.images.put(uid, new, found.boxes)
                name = dataset.image_name(new.image_id)
                if new.is_usable and not (old and old.is_usable):
                    opened.append(name)
                elif old and old.is_usable and _differs(old, new):
                    fact = ImageChanged(image=name, store_etag=new.store_etag, label_digest=new.label_digest)
                    w.tell(fact, resource="image", id=new.image_id)
            if opened:
                fact_opened = ImagesIndexed(dataset=dataset.name, sync_number=dataset.sync_number + 1, images=opened)
                w.tell(fact_opened, resource="dataset", id=dataset.dataset_id)
            await w.datasets.put(dataset.moved_on(progress))
            await w.commit()
        return True

    async def _fail(self, uid: str, message: str) -> None:
        log.warning("sync_failed", message=message)
        async with self._work() as w:
            dataset = await w.datasets.find(uid, lock=True)
            if dataset is not None:
                await w.datasets.put(dataset.sync_failed(message, at=w.now))
                await w.commit()

    async def _purge(self, uid: str, name: str, stopping: asyncio.Event) -> None:
        ids = DATASET.parse(name)
        while not stopping.is_set():
            async with self._work() as w:
                images = await w.images.some(uid, BATCH)
                for image in images:
                    if image.is_usable:
                        fact = ImageRemoved(image=IMAGE.format(**ids, image=image.image_id), dataset_deleted=True)
                        w.tell(fact, resource="image", id=image.image_id)
                await w.images.remove(uid, [image.image_id for image in images])
                if not images:
                    await w.versions.remove_all(uid)
                    await w.datasets.purged(uid)
                await w.commit()
            if not images:
                return


class _Meter:
    def __init__(self, num_same: int) -> None:
        self._num_same = num_same
        self._num_examined = 0
        self._began = time.monotonic()

    def add(self, number: int) -> Progress:
        """The progress after ``number`` more images."""
        self._num_examined += number
        rate = self._num_examined / max(time.monotonic() - self._began, 1e-3)
        return Progress(self._num_same + self._num_examined, self._num_examined, round(rate, 1))


async def _for_request(origin: Origin, job: Coroutine[Any, Any, None]) -> None:
    with origin.continued(), traces.span("index dataset"):
        await job


def _no_images(dataset: Dataset) -> NoImages:
    if dataset.sync_number == 0:
        return NoImages(f"{dataset.path} holds no JPG, PNG or BMP image; put images there, then sync again.", path=dataset.path)
    # An unmounted disk looks like an empty folder: the index is kept.
    where = "its disk is there" if dataset.storage_type is StorageType.LOCAL else "the path is right"
    return NoImages(f"{dataset.path} holds no image any more; check that {where}, then sync again.", path=dataset.path)


async def _remove(w: DatasetWork, dataset: Dataset, images: dict[str, Image]) -> Dataset:
    for image in images.values():
        dataset = dataset.counted(image, None)
        if image.is_usable:
            w.tell(ImageRemoved(image=dataset.image_name(image.image_id)), resource="image", id=image.image_id)
    await w.images.remove(dataset.uid, images)
    return dataset


def _differs(old: Image, new: Image) -> bool:
    return (old.store_etag, old.label_digest, old.state) != (new.store_etag, new.label_digest, new.state)


async def _list(store: ObjectStore) -> list[StoredFile]:
    files: list[StoredFile] = []
    after: str | None = None
    while True:
        page = await store.list(after=after)
        files += [StoredFile(item.key, item.size_bytes, item.etag) for item in page.items]
        if page.next_after is None:
            return files
        after = page.next_after


def _batches(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
