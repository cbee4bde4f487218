"""One survey: every image and its labels in key order, then duplicates, then the report.

Each transaction holds a batch's findings, the counts so far and the key it ends with, so a process that dies loses one batch's work and
the next ends with the same report.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.runtime import logs
from libs.runtime.object_store import ObjectStore
from services.dataset.domain import Dataset
from services.dataset.health import advice
from services.dataset.health.convert import content_of, content_to_bytes
from services.dataset.health.duplicates import Groups, Member
from services.dataset.health.label_facts import box_facts, row_facts
from services.dataset.health.pixel_facts import look_at
from services.dataset.health.report import Code, Found, Phase, PixelFacts, Report, Survey
from services.dataset.health.tally import Tally
from services.dataset.image import Image, LabelBox
from services.dataset.store import DatasetWork, Work

log = logs.get_logger()

BATCH: Final = 100
_PAGE: Final = 2_000
_TIDIED: Final = 500

Row = tuple[Image, tuple[LabelBox, ...]]


class _Superseded(Exception):
    """A sync begins or has ended, the dataset is gone, or the process stops: the survey is left where it stands."""


@dataclass(frozen=True)
class SurveyRun:
    """A survey of one dataset, begun or taken up where its row says.

    Args:
        stopping: it ends after its batch.
    """

    work: Work
    store: ObjectStore
    stopping: asyncio.Event

    async def run(self, survey: Survey) -> None:
        """To its end, or until something else comes first.

        Raises:
            Fault, OSError: the store cannot be read.
        """
        try:
            if survey.phase is Phase.IMAGES:
                survey = await self._images(survey)
            if survey.phase is Phase.GROUPS:
                survey = await self._groups(survey)
            await self._tidy(survey)
        except _Superseded:
            log.info("survey_left", phase=survey.phase)

    async def _images(self, survey: Survey) -> Survey:
        tally = Tally.unpack(survey.tally)
        while True:
            async with self.work(read_only=True) as w:
                rows = await w.health.images(survey.dataset_uid, survey.cursor, BATCH)
                known = await w.health.pixels(survey.dataset_uid, [image.image_id for image, _ in rows])
            if not rows:
                break
            old = [image for image, _ in rows if image.is_usable and not _is_known(image, known)]
            seen = await look_at(self.store, old)
            found = await asyncio.to_thread(_count, tally, rows, known | seen)
            moved = survey.moved_on(rows[-1][0].key, survey.num_seen + len(rows), tally.pack())
            async with self.work() as w:
                await self._check(w, survey)
                await w.health.put_pixels(survey.dataset_uid, seen)
                await w.health.put_found(survey, found)
                await w.health.put(moved)
                await w.commit()
            survey = moved
        found = tally.leave_folder() if tally.num_folders > 1 else []
        tally.find(found)
        async with self.work() as w:
            await self._check(w, survey)
            await w.health.put_found(survey, found)
            survey = survey.moved_on("", 0, tally.pack()).entered(Phase.GROUPS)
            await w.health.put(survey)
            await w.commit()
        return survey

    async def _groups(self, survey: Survey) -> Survey:
        members: list[Member] = []
        after = ""
        groups = Groups()
        while members := await self._members(survey, after):
            groups.add(members)
            after = members[-1].key
        await asyncio.to_thread(groups.find)
        tally = Tally.unpack(survey.tally)
        while members := await self._members(survey, survey.cursor):
            found = groups.findings(survey.num_seen, members)
            tally.find(found)
            moved = survey.moved_on(members[-1].key, survey.num_seen + len(members), tally.pack())
            async with self.work() as w:
                await self._check(w, survey)
                await w.health.put_found(survey, found)
                await w.health.put(moved)
                await w.commit()
            survey = moved
        return await self._finish(survey, tally)

    async def _members(self, survey: Survey, after: str) -> list[Member]:
        if self.stopping.is_set():
            raise _Superseded
        async with self.work(read_only=True) as w:
            return [Member(*row) for row in await w.health.hashed(survey.dataset_uid, after, _PAGE)]

    async def _finish(self, survey: Survey, tally: Tally) -> Survey:
        async with self.work() as w:
            dataset = await self._check(w, survey)
            rare = await w.images.many(dataset.uid, list(advice.rare_images(tally)))
            found = advice.rare_findings(tally, rare)
            tally.find(found)
            await w.health.put_found(survey, found)
            tally.found.update(advice.of_whole(tally))
            data, digest = content_to_bytes(content_of(dataset, tally))
            await w.health.put_report(dataset.uid, Report(survey.run, survey.sync_number, digest, data, w.now))
            survey = survey.entered(Phase.TIDY)
            await w.health.put(survey)
            await w.commit()
        log.info("survey_finished", num_images=survey.num_images, digest=digest)
        return survey

    async def _tidy(self, survey: Survey) -> None:
        is_more = True
        while is_more:
            async with self.work() as w:
                await self._check(w, survey)
                is_more = await w.health.tidy(survey.dataset_uid, survey.run, _TIDIED)
                if not is_more:
                    await w.health.put(survey.ended())
                await w.commit()

    async def _check(self, w: DatasetWork, survey: Survey) -> Dataset:
        """The dataset, locked, while the survey is still to be done."""
        dataset = await w.datasets.find(survey.dataset_uid, lock=True)
        current = await w.health.survey(survey.dataset_uid)
        if self.stopping.is_set() or dataset is None or dataset.sync_wanted or current is None or current.run != survey.run:
            raise _Superseded
        return dataset


def _is_known(image: Image, known: dict[str, PixelFacts]) -> bool:
    return image.image_id in known and known[image.image_id].store_etag == image.store_etag


def _count(tally: Tally, rows: Sequence[Row], pixels: dict[str, PixelFacts]) -> list[Found]:
    found: list[Found] = []
    for image, boxes in rows:
        details = row_facts(image)
        small = tally.enter_folder(image.key)
        facts = pixels.get(image.image_id)
        if image.is_usable:
            if facts is not None:
                details |= dict.fromkeys(facts.traits, "")
                if facts.problem:
                    details[Code.UNREADABLE] = facts.problem
            details |= box_facts(image, boxes)
            tally.add_image(image, facts)
            tally.add_labels(image, boxes)
        mine = [*small, *(Found(code, image.image_id, image.key, detail) for code, detail in details.items())]
        tally.find(mine)
        found += mine
    return found
