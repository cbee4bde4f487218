"""The sweeper: ends and removes what others left behind. Each replica has one; what one of them did is nothing to do for the next."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from libs.ocrkit.bundle import SUFFIX
from libs.runtime.logs import get_logger
from libs.runtime.times import utc_now
from services.trainer.deps import Deps
from services.trainer.events import put_task

log = get_logger()

TICK_SECONDS = 1.0
STALE_SECONDS = 4.0
"""A living worker stops its child well within this; a person waits 5 s at most."""
SILENT_UPLOAD_AFTER = timedelta(hours=1)
"""Another replica may be writing it: an upload is given up by its age. Far longer than a sender pauses, or clocks differ."""


class Sweeper:
    """Ends terminations that no worker answers, removes work folders of tasks that have ended and uploads that were cut off.

    Args:
        deps: of the service.
        clock: seconds that only ever grow: the time of day may be set back while somebody waits.
    """

    name = "sweeper"

    def __init__(self, deps: Deps, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._deps = deps
        self._clock = clock
        self._seen: dict[str, float] = {}
        """Tasks that are to end, and when they were first found so."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Sweep until ``stopping`` is set."""
        while not stopping.is_set():
            await self.end_stale()
            await self.remove_folders()
            await self.remove_uploads()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await stopping.wait()

    async def end_stale(self) -> None:
        """End tasks whose worker should have ended them long ago; should it live after all, its next look stops its child."""
        async with self._deps.work(read_only=True) as w:
            terminating = await w.tasks.terminating()
        now = self._clock()
        self._seen = {task.uid: self._seen.get(task.uid, now) for task in terminating}
        for task in terminating:
            if now - self._seen[task.uid] < STALE_SECONDS:
                continue
            async with self._deps.work() as w:
                current = await w.tasks.get(task.name)
                if not current.has_ended:
                    await put_task(w, current.terminated(at=w.now), before=current)
                    await w.commit()
                    log.warning("termination_swept", task=task.name)

    async def remove_folders(self) -> None:
        """Remove work folders whose task is over or unknown."""
        folder = self._deps.settings.task_folder
        found = await asyncio.to_thread(_names, folder)
        if not found:
            return
        async with self._deps.work(read_only=True) as w:
            active = await w.tasks.active_uids()
        for name in found - active:
            await asyncio.to_thread(shutil.rmtree, folder / name, ignore_errors=True)

    async def remove_uploads(self) -> None:
        """Remove bundles that were being brought when the process that received them was killed."""
        await asyncio.to_thread(_remove_older, self._deps.settings.upload_folder, utc_now() - SILENT_UPLOAD_AFTER)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _remove_older(folder: Path, moment: datetime) -> None:
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < moment:
                path.unlink()
