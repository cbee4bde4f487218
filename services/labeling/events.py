"""The facts this service tells and the facts it hears.

Told, with the subject's resource and id: ``PageSubmitted`` and ``PageReturned`` (page, image id).
Each fact heard is only a hint to look: what is taken over is what the dataset service says at that moment, so repeats and a changed
order do no harm.
"""

from dataclasses import dataclass
from typing import Any

from inkwright.dataset.v1.dataset_events_pb2 import (
    DatasetDeleted,
    DatasetRestored,
    DatasetTrashed,
    ImageChanged,
    ImageRemoved,
    ImagesIndexed,
)
from libs.runtime.hearing import Heard, Hearing
from libs.runtime.names import DATASET
from services.labeling.opening import look, take_over
from services.labeling.peers import Peers
from services.labeling.store import Work


@dataclass(frozen=True)
class Deps:
    """What the handlers need."""

    work: Work
    peers: Peers


async def on_images_indexed(heard: Heard[ImagesIndexed], deps: Deps) -> None:
    """New usable images: open their pages."""
    if not heard.fact.images:
        return
    sighting = await look(deps.work, deps.peers, list(heard.fact.images))
    async with heard.once(deps.work) as w:
        await take_over(w, sighting)
        await w.commit()


async def on_image_changed(heard: Heard[ImageChanged], deps: Deps) -> None:
    """An image or its label file changed outside Inkwright: refresh its page."""
    sighting = await look(deps.work, deps.peers, [heard.fact.image])
    async with heard.once(deps.work) as w:
        await take_over(w, sighting)
        await w.commit()


async def on_image_removed(heard: Heard[ImageRemoved], deps: Deps) -> None:
    """An image is gone: close its page."""
    sighting = await look(deps.work, deps.peers, [heard.fact.image])
    async with heard.once(deps.work) as w:
        await take_over(w, sighting, dataset_deleted=heard.fact.dataset_deleted)
        await w.commit()


async def on_trash_changed(heard: Heard[DatasetTrashed] | Heard[DatasetRestored] | Heard[DatasetDeleted], deps: Deps) -> None:
    """A dataset went into the trash or left it: close its pages all at once, or open them again."""
    ids = DATASET.parse(heard.fact.dataset)
    project, dataset_id = ids["project"], ids["dataset"]
    async with deps.work(read_only=True) as w:
        seen_at = await w.trash.revision(project, dataset_id)
    is_trashed = await deps.peers.is_trashed(heard.fact.dataset)
    async with heard.once(deps.work) as w:
        await w.trash.put(project, dataset_id, is_trashed=is_trashed, seen_at=seen_at)
        await w.commit()


HEARINGS: list[Hearing[Any, Deps]] = [
    Hearing(durable="labeling-images-indexed", fact=ImagesIndexed, service="dataset", resource="dataset", handle=on_images_indexed),
    Hearing(durable="labeling-image-changed", fact=ImageChanged, service="dataset", resource="image", handle=on_image_changed),
    Hearing(durable="labeling-image-removed", fact=ImageRemoved, service="dataset", resource="image", handle=on_image_removed),
    Hearing(durable="labeling-dataset-trashed", fact=DatasetTrashed, service="dataset", resource="dataset", handle=on_trash_changed),
    Hearing(durable="labeling-dataset-restored", fact=DatasetRestored, service="dataset", resource="dataset", handle=on_trash_changed),
    Hearing(durable="labeling-dataset-deleted", fact=DatasetDeleted, service="dataset", resource="dataset", handle=on_trash_changed),
]
