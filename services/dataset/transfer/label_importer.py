"""The background task that does imports of labels, one after the other, the oldest first."""

import asyncio
from typing import Final

from libs.runtime import logs
from libs.runtime.errors import Fault
from services.dataset.store import Work
from services.dataset.stores import Stores
from services.dataset.transfer.actions import ABANDONED_AFTER
from services.dataset.transfer.label_import import ImportState
from services.dataset.transfer.label_import_run import ImportRun

log = logs.get_logger()

TICK_SECONDS: Final = 2.0
"""Another process may have been asked; this one is woken only by its own callers."""


class LabelImporter:
    """What is to be done stands in the database, so a restart goes on where the last process ended."""

    def __init__(self, work: Work, stores: Stores) -> None:
        self._work = work
        self._stores = stores
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until ``stopping`` is set; an import then ends after its batch and is taken up by the next process."""
        stop_watch = asyncio.create_task(self._wake_on(stopping), name="label-importer-stop")
        try:
            async with self._work() as w:
                await w.label_imports.remove_abandoned(w.now - ABANDONED_AFTER)
                await w.commit()
            while not stopping.is_set():
                self._woken.clear()
                async with self._work(read_only=True) as w:
                    uids = await w.label_imports.unfinished()
                for uid in uids:
                    if not stopping.is_set():
                        await self._import(uid, stopping)
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

    async def _import(self, uid: str, stopping: asyncio.Event) -> None:
        with logs.bind(label_import=uid):
            try:
                async with self._work(read_only=True) as w:
                    current = await w.label_imports.find(uid)
                    dataset = await w.datasets.find(current.dataset_uid) if current else None
                if current is not None and dataset is not None:
                    await ImportRun(self._work, await self._stores.open(dataset.place), dataset, current).run(stopping)
            except Fault as fault:
                await self._fail(uid, fault.message)
            except OSError as error:
                await self._fail(uid, f"The label files could not be read ({error.strerror or error}); repair that, then import again.")
            except Exception as error:
                log.error("label_import_crashed", exc_info=error)
                await self._fail(uid, "Something went wrong inside Inkwright; look at the dataset service's log, then import again.")

    async def _fail(self, uid: str, message: str) -> None:
        log.warning("label_import_failed", message=message)
        async with self._work() as w:
            current = await w.label_imports.find(uid, lock=True)
            if current is not None:
                await w.label_imports.put(current.ended(ImportState.FAILED, message=message, at=w.now))
                await w.label_imports.remove_parts(uid)
                await w.commit()
