"""The background task that takes uploads apart once all their bytes are there, and clears away what nobody went on with."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from libs.runtime import logs
from libs.runtime.errors import Fault, NoReadyInstance
from libs.runtime.full_disk import full_disk
from services.dataset.domain import Dataset, index_work
from services.dataset.store import Work
from services.dataset.stores import Stores
from services.dataset.uploads.source import DemoImages, OneFile, Refused, Source, check_digest
from services.dataset.uploads.staging import Staging
from services.dataset.uploads.taker import Taker
from services.dataset.uploads.upload import Outcome, Upload, UploadSource, UploadState
from services.dataset.uploads.zip_upload import ZipFolder

log = logs.get_logger()

TICK_SECONDS: Final = 2.0
"""Bytes may have come to another process; this one is woken only by its own callers."""
TROUBLE_SECONDS: Final = 5.0
"""Between two looks whether a disk or a store is well again."""
AT_ONCE: Final = 2
"""A large ZIP does not hold up the picture behind it."""
BATCH_ROWS: Final = 100
BATCH_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 600.0
IDLE: Final = timedelta(hours=24)
KEPT: Final = timedelta(days=30)


class UploadWorker:
    """Processes uploads, a few at a time.

    Groups of files that are done stand in the database, so a restart goes on behind them; the files of the batch that was lost are
    found in the folder.
    """

    def __init__(self, work: Work, stores: Stores, staging: Staging, *, max_unpacked_bytes: int, wake_indexer: Callable[[], None]) -> None:
        self._work = work
        self._stores = stores
        self._staging = staging
        self._max_unpacked_bytes = max_unpacked_bytes
        self._wake_indexer = wake_indexer
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until ``stopping`` is set; an upload then ends after its group of files."""
        stop_watch = asyncio.create_task(self._wake_on(stopping), name="uploads-stop")
        running: dict[str, asyncio.Task[None]] = {}
        swept = -SWEEP_SECONDS
        try:
            async with asyncio.TaskGroup() as group:
                while not stopping.is_set():
                    self._woken.clear()
                    if time.monotonic() - swept > SWEEP_SECONDS:
                        await self._sweep()
                        swept = time.monotonic()
                    # Before the list is read: what ends in between may still be on it, and would be done twice.
                    running = {uid: task for uid, task in running.items() if not task.done()}
                    async with self._work(read_only=True) as w:
                        wanted = await w.uploads.to_process()
                    for upload_id in [uid for uid in wanted if uid not in running][: AT_ONCE - len(running)]:
                        running[upload_id] = group.create_task(self._process_and_settle(upload_id, stopping), name=f"upload-{upload_id}")
                        running[upload_id].add_done_callback(lambda _task: self._woken.set())
                    await self._ask_for_syncs()
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

    async def _process_and_settle(self, upload_id: str, stopping: asyncio.Event) -> None:
        with logs.bind(upload=upload_id):
            try:
                await self._process(upload_id, stopping)
            except NoReadyInstance as fault:
                await self._wait_out(upload_id, fault.message, stopping)
            except Fault as fault:
                await self._end(upload_id, fault.message)
            except Refused as refused:
                await self._end(upload_id, refused.message)
            except OSError as error:
                full = full_disk(error)
                message = full.message if full else f"The disk could not be used ({error.strerror or error})."
                await self._wait_out(upload_id, message, stopping)
            except Exception as error:
                log.error("upload_crashed", exc_info=error)
                await self._end(upload_id, "Something went wrong inside Inkwright; look at the dataset service's log, then send it again.")

    async def _process(self, upload_id: str, stopping: asyncio.Event) -> None:
        async with self._work(read_only=True) as w:
            upload = await w.uploads.find(upload_id)
            dataset = await w.datasets.find(upload.dataset_uid, even_trashed=True) if upload else None
        if upload is None or upload.state is not UploadState.PROCESSING:
            return
        if dataset is None:
            async with self._work() as w:
                await w.uploads.remove([upload_id])
                await w.commit()
            await asyncio.to_thread(self._staging.remove, upload_id)
            return
        source = await asyncio.to_thread(self._opened, upload)
        try:
            is_done = await self._take_all(upload, dataset, source, stopping)
        finally:
            await asyncio.to_thread(source.close)
        if is_done:
            await self._end(upload_id)

    def _opened(self, upload: Upload) -> Source:
        if upload.source is UploadSource.DEMO:
            return DemoImages(upload.size_bytes)
        path = self._staging.path(upload.upload_id)
        if not path.exists():
            raise Refused("GONE", "The bytes that came are not here any more; delete the upload and begin a new one.")
        if upload.counts.num_done == 0:
            check_digest(path, upload.sha256)
        if upload.file_name.casefold().endswith(".zip"):
            return ZipFolder(path, upload.folder, max_unpacked_bytes=self._max_unpacked_bytes)
        return OneFile(upload, path)

    async def _take_all(self, upload: Upload, dataset: Dataset, source: Source, stopping: asyncio.Event) -> bool:
        """Whether nothing is left to take; what was, is taken up again by a later call."""
        taker = Taker(await self._stores.open(dataset.place), upload.options, lambda: self._staging.scratch(upload.upload_id))
        outcomes: list[Outcome] = []
        saved = time.monotonic()
        number = upload.counts.num_done
        while number < source.num_groups and not stopping.is_set():
            outcomes += await taker.take(await asyncio.to_thread(source.group, number))
            number += 1
            if len(outcomes) >= BATCH_ROWS or time.monotonic() - saved > BATCH_SECONDS:
                if not await self._save(upload, outcomes, number, source.num_groups):
                    return False
                outcomes, saved = [], time.monotonic()
        return await self._save(upload, outcomes, number, source.num_groups) and number == source.num_groups

    async def _save(self, upload: Upload, outcomes: list[Outcome], num_done: int, num_total: int) -> bool:
        """Whether the upload is still there, and its dataset not in the trash."""
        async with self._work() as w:
            current = await w.uploads.find(upload.upload_id, lock=True)
            if current is None:
                return False
            await w.uploads.put(current.moved_on(outcomes, num_done=num_done, num_total=num_total, at=w.now), outcomes)
            is_wanted = await w.datasets.find(upload.dataset_uid) is not None
            await w.commit()
        return is_wanted

    async def _end(self, upload_id: str, error_message: str = "") -> None:
        if error_message:
            log.warning("upload_failed", message=error_message)
        async with self._work() as w:
            upload = await w.uploads.find(upload_id, lock=True)
            if upload is not None:
                await w.uploads.put(upload.ended(error_message, at=w.now))
                await w.commit()
        await asyncio.to_thread(self._staging.remove, upload_id)

    async def _wait_out(self, upload_id: str, message: str, stopping: asyncio.Event) -> None:
        """The store or a disk may be well again later: the upload says what it waits for, and goes on by itself."""
        log.warning("upload_waits", message=message)
        async with self._work() as w:
            upload = await w.uploads.find(upload_id, lock=True)
            if upload is not None:
                await w.uploads.put(upload.waiting(f"Waiting, and going on by itself: {message}"))
                await w.commit()
        try:
            async with asyncio.timeout(TROUBLE_SECONDS):
                await stopping.wait()
        except TimeoutError:
            return

    async def _ask_for_syncs(self) -> None:
        async with self._work(read_only=True) as w:
            owing = await w.uploads.owing_sync()
        for uid in owing:
            async with self._work() as w:
                dataset = await w.datasets.find(uid, lock=True)
                # A sync that runs may be past the new files: the next one is asked for when it has ended.
                if dataset is not None and dataset.sync_wanted:
                    continue
                if dataset is not None:
                    await w.datasets.put(dataset.want_sync(at=w.now))
                    await w.note_origin(index_work(uid))
                await w.uploads.sync_asked(uid)
                await w.commit()
            self._wake_indexer()

    async def _sweep(self) -> None:
        """Forget idle and old uploads, and bytes that belong to none."""
        while True:
            async with self._work() as w:
                ids = await w.uploads.older(idle_since=w.now - IDLE, ended_before=w.now - KEPT)
                await w.uploads.remove(ids)
                await w.commit()
            if not ids:
                break
        there = await asyncio.to_thread(self._staging.upload_ids)
        async with self._work(read_only=True) as w:
            needed = await w.uploads.with_bytes(there)
        for upload_id in set(there) - needed:
            await asyncio.to_thread(self._staging.remove, upload_id)
