"""The pages that an export writes, a few at a time: as they lie beside the images now, or as a version froze them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from libs.ocrkit.labels.page import LabelUnreadable, Page
from libs.ocrkit.labels.voc import read_voc
from libs.runtime.errors import Fault
from libs.runtime.object_store import ObjectStore
from libs.runtime.paging import Cursor
from services.dataset.domain import Dataset
from services.dataset.image import Image, ImageState
from services.dataset.indexing.examine import read_with_etag
from services.dataset.label_file import box_to_file
from services.dataset.store import Work
from services.dataset.transfer.label_sources import Asking
from services.dataset.versions.version import Version, VersionEntry

BATCH: Final = 200
_AT_ONCE: Final = 16


@dataclass(frozen=True)
class Exported:
    """An image and its labels; ``page`` is None without any, and ``failure`` says why they cannot be had."""

    key: str
    page: Page | None = None
    failure: str = ""


def current_pages(work: Work, store: ObjectStore, dataset: Dataset, asking: Asking) -> Iterator[Exported]:
    """Every usable image in key order, with all that its label file says at this moment. Called from a thread."""

    async def some(after: Cursor) -> tuple[list[Exported], Cursor | None]:
        async with work(read_only=True) as w:
            page, _ = await w.images.page(dataset, size=BATCH, after=after, state=ImageState.USABLE)
        free = asyncio.Semaphore(_AT_ONCE)
        return await asyncio.gather(*(_current(store, image, free) for image in page.items)), page.next_cursor

    after: Cursor | None = ()
    while after is not None:
        exported, after = asking(some(after))
        yield from exported


def frozen_pages(work: Work, store: ObjectStore, version: Version, asking: Asking, *, checks_images: bool) -> Iterator[Exported]:
    """Every image of a version in key order, with the boxes that were frozen. Called from a thread.

    Args:
        work: units of work.
        store: holds the images.
        version: to export.
        asking: calls the loop.
        checks_images: whether images are read, and so must be those that were frozen.
    """

    async def some(after: Cursor) -> tuple[list[Exported], Cursor | None]:
        async with work(read_only=True) as w:
            page = await w.versions.entries(version, size=BATCH, after=after)
        free = asyncio.Semaphore(_AT_ONCE)
        return await asyncio.gather(*(_frozen(store if checks_images else None, one, free) for one in page.items)), page.next_cursor

    after: Cursor | None = ()
    while after is not None:
        exported, after = asking(some(after))
        yield from exported


async def _current(store: ObjectStore, image: Image, free: asyncio.Semaphore) -> Exported:
    if not image.label_key:
        return Exported(image.key)
    try:
        async with free:
            found = await read_with_etag(store, image.label_key)
        if found is None:
            return Exported(image.key)
        read = await asyncio.to_thread(read_voc, found[0], width_px=image.width_px, height_px=image.height_px)
    except LabelUnreadable as fault:
        return Exported(image.key, failure=f"{image.label_key} cannot be read: {fault.message}")
    except Fault as fault:
        return Exported(image.key, failure=fault.message)
    page = Page(image.key, image.width_px, image.height_px, read.boxes, read.confirmed, found[0], read.unknown)
    return Exported(image.key, page)


async def _frozen(store: ObjectStore | None, entry: VersionEntry, free: asyncio.Semaphore) -> Exported:
    if store is not None:
        try:
            async with free:
                is_frozen = (await store.head(entry.key)).etag == entry.store_etag
        except Fault as fault:
            return Exported(entry.key, failure=fault.message)
        if not is_frozen:
            return Exported(entry.key, failure=f"{entry.key} was changed since the version was frozen.")
    if not entry.label_digest:
        return Exported(entry.key)
    # Ids of boxes are our own, and not all of them come from the file: nothing that could be lost.
    boxes = tuple(replace(box_to_file(box), attributes={}) for box in entry.boxes)
    return Exported(entry.key, Page(entry.key, entry.width_px, entry.height_px, boxes))
