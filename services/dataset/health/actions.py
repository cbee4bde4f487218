"""What can be done with health reports and look-alikes: one function a verb."""

from typing import Final

from libs.runtime.errors import NotFound
from libs.runtime.paging import Cursor, Page
from services.dataset.domain import Dataset
from services.dataset.health.normalization import FileResult, LineChange, Normalization, line_changes, reason_to_skip
from services.dataset.health.report import Code, Found, NotSurveyed, Report, Survey
from services.dataset.image import ImageState
from services.dataset.store import DatasetWork, Work

_OF_ALL_IMAGES: Final = frozenset({Code.FEW_IMAGES, Code.ONE_CAMERA, Code.ONE_ANGLE, Code.ONE_BACKGROUND})
"""Findings about the dataset as a whole: their images are all usable ones."""

Health = tuple[Dataset, Survey | None, Report | None]


async def get_health_report(work: Work, name: str) -> Health:
    """The last finished report, and where the survey that runs stands.

    Raises:
        NotFound: no such dataset.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        return dataset, await w.health.survey(dataset.uid), await w.health.report(dataset.uid)


async def refresh_health_report(work: Work, name: str) -> Health:
    """Ask for a survey; one that is wanted already is the same one.

    Raises:
        NotFound: no such dataset.
        DatasetNotReady: no sync of it has finished.
    """
    async with work() as w:
        dataset = await w.datasets.get(name, lock=True)
        dataset.check_freezable()
        survey = await w.health.survey(dataset.uid)
        if survey is None or not survey.is_surveying:
            await w.health.want(dataset)
        health = dataset, await w.health.survey(dataset.uid), await w.health.report(dataset.uid)
        await w.commit()
    return health


async def list_finding_images(work: Work, name: str, code: str, *, size: int, after: Cursor) -> tuple[Dataset, Page[Found]]:
    """Images of a finding of the last finished report.

    Raises:
        NotFound: no such dataset or kind of finding.
        NotSurveyed: no survey has finished.
    """
    if code not in Code.__members__:
        raise NotFound(f"There is no finding {code}; get the health report to see what was found.", finding=code)
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        report = await _report(w, dataset)
        if Code(code) not in _OF_ALL_IMAGES:
            return dataset, await w.health.found(dataset.uid, report.run, Code(code), size=size, after=after)
        page, _ = await w.images.page(dataset, size=size, after=after, state=ImageState.USABLE)
    return dataset, Page([Found(Code(code), image.image_id, image.key) for image in page.items], page.next_cursor)


async def preview_normalization(work: Work, name: str, *, size: int, after: Cursor) -> tuple[Dataset, Page[LineChange]]:
    """The lines of some images that would be written in other code points; a page may hold none.

    Raises:
        NotFound: no such dataset.
        NotSurveyed: no survey has finished.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        report = await _report(w, dataset)
        page = await w.health.found(dataset.uid, report.run, Code.LOOK_ALIKE, size=size, after=after)
        images = await w.images.many(dataset.uid, [one.image_id for one in page.items])
        lines: list[LineChange] = []
        for found in page.items:
            image = images.get(found.image_id)
            if image is not None and not reason_to_skip(image):
                lines += line_changes(image, await w.images.boxes(dataset.uid, image.image_id))
    return dataset, Page(lines, page.next_cursor)


async def normalize_labels(work: Work, name: str) -> tuple[Dataset, Normalization]:
    """Start to write them; one that runs is the same one.

    Raises:
        NotFound: no such dataset.
        NotSurveyed: no survey has finished.
    """
    async with work() as w:
        dataset = await w.datasets.get(name, lock=True)
        before = await w.normalizations.find(dataset.uid)
        if before is not None and before.wanted:
            return dataset, before
        report = await _report(w, dataset)
        num_files = await w.health.count_found(dataset.uid, report.run, Code.LOOK_ALIKE)
        started = Normalization(dataset.uid, report.run, num_files, w.now)
        await w.normalizations.remove(dataset.uid)
        await w.normalizations.put(started)
        await w.commit()
    return dataset, started


async def get_normalization(work: Work, name: str) -> tuple[Dataset, Normalization]:
    """The last one.

    Raises:
        NotFound: no such dataset, or its labels were never normalised.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        found = await w.normalizations.find(dataset.uid)
    if found is None:
        raise NotFound(f"The labels of {name} were never normalised; start that first.", name=name)
    return dataset, found


async def list_normalized_files(work: Work, name: str, *, size: int, after: Cursor) -> tuple[Dataset, Page[FileResult]]:
    """What became of each label file in the last normalising, in key order.

    Raises:
        NotFound: no such dataset.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        return dataset, await w.normalizations.files(dataset.uid, size=size, after=after)


async def _report(w: DatasetWork, dataset: Dataset) -> Report:
    report = await w.health.report(dataset.uid)
    if report is None:
        message = f"No survey of {dataset.name} has finished; wait until its health report is READY."
        raise NotSurveyed(message, name=dataset.name, state=dataset.state)
    return report
