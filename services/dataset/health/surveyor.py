"""The background task that surveys datasets and normalises their labels: one at a time, so that syncs and callers keep their share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from libs.runtime import logs
from libs.runtime.errors import Fault
from services.dataset.health.normalizer import Normalizer, failure
from services.dataset.health.survey import SurveyRun
from services.dataset.store import DatasetWork, Work
from services.dataset.stores import Stores

log = logs.get_logger()

TICK_SECONDS: Final = 2.0
"""Surveys are asked for by syncs, which may run in another process."""
_CRASHED: Final = "Something went wrong inside Inkwright; look at the dataset service's log, then try again."


class Surveyor:
    """What is to be done stands in the database, so a restart goes on where the last process ended."""

    def __init__(self, work: Work, stores: Stores) -> None:
        self._work = work
        self._stores = stores
        self._normalizer = Normalizer(work, stores)
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until ``stopping`` is set; what runs then ends after its batch."""
        stop = asyncio.create_task(stopping.wait(), name="surveyor-stop")
        try:
            while not stopping.is_set():
                self._woken.clear()
                async with self._work(read_only=True) as w:
                    normalizing, surveys = await w.normalizations.wanted(), await w.health.wanted()
                for uid in normalizing:
                    await self._guarded(uid, self._normalizer.run(uid, stopping), _normalizing_failed)
                for uid in surveys:
                    await self._guarded(uid, self._survey(uid, stopping), _survey_failed)
                await self._wait(stop)
        finally:
            stop.cancel()

    async def _wait(self, stop: asyncio.Task[bool]) -> None:
        woken = asyncio.create_task(self._woken.wait(), name="surveyor-woken")
        try:
            await asyncio.wait([stop, woken], timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()

    async def _survey(self, uid: str, stopping: asyncio.Event) -> None:
        async with self._work(read_only=True) as w:
            dataset, survey = await w.datasets.find(uid), await w.health.survey(uid)
        # While a sync runs the index moves; its end asks for a new survey.
        if dataset is not None and survey is not None and survey.wanted and not dataset.sync_wanted:
            await SurveyRun(self._work, await self._stores.open(dataset.place), stopping).run(survey)

    async def _guarded(self, uid: str, job: Awaitable[None], failed: Callable[[DatasetWork, str, str], Awaitable[None]]) -> None:
        with logs.bind(dataset=uid):
            try:
                await job
                return
            except (Fault, OSError) as error:
                message = failure(error)
            except Exception as error:
                log.error("survey_crashed", exc_info=error)
                message = _CRASHED
            log.warning("survey_failed", message=message)
            async with self._work() as w:
                if await w.datasets.find(uid, lock=True) is not None:
                    await failed(w, uid, message)
                    await w.commit()


async def _survey_failed(w: DatasetWork, uid: str, message: str) -> None:
    survey = await w.health.survey(uid)
    if survey is not None:
        await w.health.put(survey.ended(message))


async def _normalizing_failed(w: DatasetWork, uid: str, message: str) -> None:
    work = await w.normalizations.find(uid)
    if work is not None:
        await w.normalizations.put(work.ended(message))
