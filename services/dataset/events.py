"""The facts this service tells and the facts it hears.

Told, with the subject's resource and id: ``ImagesIndexed``, ``DatasetTrashed``, ``DatasetRestored`` and ``DatasetDeleted``
(dataset, dataset id), ``ImageChanged`` and ``ImageRemoved``
(image, image id), ``VersionFrozen`` (version, version id).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inkwright.labeling.v1.labeling_events_pb2 import PageReturned, PageSubmitted
from libs.runtime.errors import NotFound
from libs.runtime.hearing import Heard, Hearing
from libs.runtime.logs import get_logger
from libs.runtime.names import DATASET, IMAGE
from services.dataset.image import Image
from services.dataset.store import DatasetWork, Work

log = get_logger()


@dataclass(frozen=True)
class Deps:
    """What the handlers need."""

    work: Work


async def on_page_submitted(heard: Heard[PageSubmitted], deps: Deps) -> None:
    """A page's labels lie beside its image: the row says so."""
    async with heard.once(deps.work) as w:
        await _change_image(w, heard.fact.image, lambda image, at: image.submitted(heard.fact.num_boxes, at=at))
        await w.commit()


async def on_page_returned(heard: Heard[PageReturned], deps: Deps) -> None:
    """A reviewer sent the page back: the row says so."""
    async with heard.once(deps.work) as w:
        await _change_image(w, heard.fact.image, lambda image, at: image.returned(at=at))
        await w.commit()


HEARINGS: list[Hearing[Any, Deps]] = [
    Hearing(durable="dataset-page-submitted", fact=PageSubmitted, service="labeling", resource="page", handle=on_page_submitted),
    Hearing(durable="dataset-page-returned", fact=PageReturned, service="labeling", resource="page", handle=on_page_returned),
]


async def _change_image(w: DatasetWork, name: str, change: Callable[[Image, datetime], Image]) -> None:
    ids = IMAGE.parse(name)
    try:
        dataset = await w.datasets.get(DATASET.format(project=ids["project"], dataset=ids["dataset"]), lock=True, even_trashed=True)
        old = await w.images.get(dataset, ids["image"])
    except NotFound:
        # Removed while the fact was on its way: nothing is left to change.
        log.info("fact_about_removed_image", image=name)
        return
    new = change(old, w.now)
    await w.images.put(dataset.uid, new)
    await w.datasets.put(dataset.counted(old, new))
