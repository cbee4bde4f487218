"""The background task that keeps indexes equal to their folders and takes deleted ones apart."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from inkwright.dataset.v1.dataset_events_pb2 import ImageRemoved
from libs.runtime import logs, traces
from libs.runtime.call_context import Origin
from libs.runtime.errors import Fault
from libs.runtime.names import DATASET, IMAGE
from services.dataset.domain import index_work
from services.dataset.indexing.sync import Sync
from services.dataset.pictures.pictures import Pictures
from services.dataset.store import Work
from services.dataset.stores import Stores
from services.dataset.trash.actions import purge_overdue

log = logs.get_logger()

PURGED: Final = 500
"""Images a transaction."""
TICK_SECONDS: Final = 2.0
"""Another process may have been asked; this one is woken only by its own callers."""


class Indexer:
    """Syncs every dataset that wants it, one sync a dataset at a time, and purges deleted ones.

    What is to be done stands in the database, so a restart goes on where the last process ended.

    Args:
        work: units of work.
        stores: opens the datasets' stores.
        synced: called when a sync has ended.
    """

    def __init__(self, work: Work, stores: Stores, pictures: Pictures, synced: Callable[[], None]) -> None:
        self._work = work
        self._stores = stores
        self._pictures = pictures
        self._synced = synced
        self._woken = asyncio.Event()

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
                    # Before the list is read: what ends in between may still be on it, and would be done twice.
                    running = {uid: task for uid, task in running.items() if not task.done()}
                    async with self._work(read_only=True) as w:
                        overdue = await w.datasets.overdue(w.now)
                    for uid in overdue:
                        await purge_overdue(self._work, uid)
                    async with self._work(read_only=True) as w:
                        wanted, purges = await w.datasets.wanting_sync(), await w.datasets.purges()
                        origins = {uid: await w.origin_of(index_work(uid)) for uid in (*wanted, *(uid for uid, _ in purges))}
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
            dataset = await w.datasets.find(uid)
        if dataset is not None:
            await Sync(self._work, await self._stores.open(dataset.place), dataset).run(stopping)
            self._synced()

    async def _fail(self, uid: str, message: str) -> None:
        log.warning("sync_failed", message=message)
        async with self._work() as w:
            dataset = await w.datasets.find(uid, lock=True)
            if dataset is not None:
                await w.datasets.put(dataset.sync_failed(message, at=w.now))
                await w.commit()

    async def _purge(self, uid: str, name: str, stopping: asyncio.Event) -> None:
        ids = DATASET.parse(name)
        await self._pictures.forget(uid)
        while not stopping.is_set():
            async with self._work() as w:
                images = await w.images.some(uid, PURGED)
                for image in images:
                    if image.is_usable:
                        fact = ImageRemoved(image=IMAGE.format(**ids, image=image.image_id), dataset_deleted=True)
                        w.tell(fact, resource="image", id=image.image_id)
                await w.images.remove(uid, [image.image_id for image in images])
                if not images:
                    await w.index.remove_stretches(uid)
                    await w.versions.remove_all(uid)
                    await w.health.remove_all(uid)
                    await w.normalizations.remove(uid)
                    await w.test_sets.remove_all(uid)
                    await w.uploads.remove(await w.uploads.of_dataset(uid))
                    await w.label_imports.remove_all(uid)
                    await w.datasets.purged(uid)
                await w.commit()
            if not images:
                return


async def _for_request(origin: Origin, job: Coroutine[Any, Any, None]) -> None:
    with origin.continued(), traces.span("index dataset"):
        await job
