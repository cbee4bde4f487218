"""Writes look-alikes of the last report as the usual code points, label file by label file.

Each file goes the way that submitted labels go: it is replaced only while it is the one that was indexed, and the replaced one is kept. A
process that dies between the file and its row finds the file as it would write it, which counts as written.
"""

import asyncio
from dataclasses import replace
from typing import Final

from inkwright.dataset.v1.dataset_events_pb2 import ImageChanged
from libs.runtime.errors import Conflict, DatasetInTrash, Fault, InvalidInput, NotFound, WrongState
from services.dataset.domain import Dataset
from services.dataset.health.normalization import FileResult, Normalization, Result, line_changes, normalized, reason_to_skip
from services.dataset.health.report import Code, Found
from services.dataset.image import Image, LabelBox
from services.dataset.label_actions import write_image_labels
from services.dataset.store import Work
from services.dataset.stores import Stores

_PAGE: Final = 200


class Normalizer:
    """The work on one dataset at a time."""

    def __init__(self, work: Work, stores: Stores) -> None:
        self._work = work
        self._stores = stores

    async def run(self, dataset_uid: str, stopping: asyncio.Event) -> None:
        """Begun, or taken up where its row says, to the end or until ``stopping`` is set.

        Raises:
            Fault, OSError: the store cannot be written to, or the dataset went to the trash.
        """
        while not stopping.is_set():
            async with self._work() as w:
                dataset, work = await w.datasets.find(dataset_uid), await w.normalizations.find(dataset_uid)
                if dataset is None or work is None:
                    return
                page = await w.health.found(dataset_uid, work.run, Code.LOOK_ALIKE, size=_PAGE, after=(work.cursor,) if work.cursor else ())
                images = await w.images.many(dataset_uid, [one.image_id for one in page.items])
                boxes = {image_id: await w.images.boxes(dataset_uid, image_id) for image_id in images}
                if not page.items:
                    await w.normalizations.put(work.ended())
                    await w.commit()
                    return
            for found in page.items:
                if stopping.is_set():
                    return
                image = images.get(found.image_id)
                file = _gone(found) if image is None else await self._normalize(dataset, image, boxes[found.image_id])
                work = await self._put(dataset, work, found, file)

    async def _normalize(self, dataset: Dataset, image: Image, boxes: tuple[LabelBox, ...]) -> FileResult:
        changes = line_changes(image, boxes)
        reason = reason_to_skip(image) or ("" if changes else "Its labels hold no look-alikes any more.")
        result = FileResult(image.image_id, image.key, Result.CHANGED, len(changes))
        if reason:
            return replace(result, result=Result.SKIPPED, message=reason)
        try:
            await write_image_labels(
                self._work, self._stores, dataset.name, image.image_id, boxes=normalized(boxes), file_etag=image.label_etag
            )
        except DatasetInTrash:
            # It goes on when the dataset is restored.
            raise
        except (Conflict, NotFound, WrongState):
            message = "The label file was changed since it was indexed; sync the dataset, then normalise again."
            return replace(result, result=Result.SKIPPED, message=message)
        except InvalidInput as fault:
            return replace(result, result=Result.FAILED, message=fault.message)
        return result

    async def _put(self, dataset: Dataset, work: Normalization, found: Found, file: FileResult) -> Normalization:
        work = work.done(found.place, file.result)
        async with self._work() as w:
            await w.normalizations.put_file(dataset.uid, file)
            await w.normalizations.put(work)
            row = (await w.images.many(dataset.uid, [file.image_id])).get(file.image_id)
            if file.result is Result.CHANGED and row is not None:
                # Its page shows the labels that are there now.
                name = dataset.image_name(row.image_id)
                fact = ImageChanged(image=name, store_etag=row.store_etag, label_digest=row.label_digest)
                w.tell(fact, resource="image", id=row.image_id)
            await w.commit()
        return work


def _gone(found: Found) -> FileResult:
    return FileResult(found.image_id, found.key, Result.SKIPPED, 0, "The image is gone.")


def failure(error: Fault | OSError) -> str:
    """Why it stopped, and what to do."""
    said = error.message if isinstance(error, Fault) else error.strerror or str(error)
    return f"{said} Repair that, then start it again."
