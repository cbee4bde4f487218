"""One sync: the folder is listed stretch by stretch, and what differs from the index is looked at and taken over.

While one stretch is written the next is looked at and the one after it listed, so memory holds a few thousand files however large the
folder is. Each transaction holds a stretch's rows, its facts and the key it ends with, so a process that dies loses one stretch's work.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, TypeVar

from inkwright.dataset.v1.dataset_events_pb2 import ImageChanged, ImageRemoved, ImagesIndexed
from libs.runtime import logs
from libs.runtime.object_store import ObjectStore
from services.dataset.domain import Dataset, NoImages, Progress, StorageType
from services.dataset.image import Image, image_id_of
from services.dataset.indexing.examine import Examined, examine
from services.dataset.indexing.label_reader import LabelReader
from services.dataset.indexing.stretches import UNSETTLED, Seen, Stretch, edge_stems, files_of_stem, walk
from services.dataset.pairing import is_image, pair, stem_of
from services.dataset.store import DatasetWork, Work

log = logs.get_logger()

IN_FLIGHT: Final = 3
"""Stretches being looked at or waiting to be written."""
EXAMINED: Final = 200
"""Images whose beginnings and label files are in memory together."""
NAMED: Final = 500
"""``ImagesIndexed`` names no more."""
REPORT_SECONDS: Final = 1.0
"""How often a sync that finds nothing new says how far it is."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Looked:
    """A stretch that was looked at.

    Args:
        indexed: source tags of the rows that were compared, by image id.
        gone: ids of rows without an image.
        is_settled: nothing slipped away meanwhile.
    """

    stretch: Stretch
    examined: Sequence[Examined]
    indexed: Mapping[str, str]
    gone: Sequence[str]
    is_settled: bool


class Sync:
    """A sync of one dataset, begun or taken up again where ``dataset.progress`` says.

    Raises:
        NoImages: the folder holds none; the index is kept.
        Fault, OSError: the store cannot be read.
    """

    def __init__(self, work: Work, store: ObjectStore, dataset: Dataset) -> None:
        self._work = work
        self._store = store
        self._dataset = dataset
        self._reader = LabelReader()
        self._uid = dataset.uid
        self._progress = dataset.progress
        self._began = self._reported = time.monotonic()
        self._num_before = dataset.progress.num_seen

    async def run(self, stopping: asyncio.Event) -> None:
        """To its end, or until ``stopping`` is set or the dataset is gone; see the class for what it raises."""
        if not await holds_image(self._store):
            raise _no_images(self._dataset)
        log.info("sync_began", cursor=self._progress.cursor)
        looking: deque[asyncio.Task[_Looked]] = deque()
        try:
            async for seen in walk(self._store, self._known, after=self._progress.cursor):
                if stopping.is_set():
                    return
                if seen.known is None:
                    looking.append(asyncio.create_task(self._look(seen), name=f"look-{self._uid}"))
                elif not looking:
                    if not await self._pass_over(seen.known):
                        return
                    continue
                else:
                    looking.append(asyncio.create_task(_nothing_to_do(seen.known), name=f"look-{self._uid}"))
                if len(looking) == IN_FLIGHT and not await self._take_over(await looking.popleft()):
                    return
            while looking:
                if stopping.is_set() or not await self._take_over(await looking.popleft()):
                    return
        finally:
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)
            await self._reader.close()
        async with self._work() as w:
            current = await w.datasets.find(self._uid, lock=True)
            if current is not None:
                synced = current.synced(at=w.now)
                await w.datasets.put(synced)
                await w.health.want(synced)
                await w.commit()
                log.info("sync_finished", num_images=current.counts.num_images, num_changed=self._progress.num_changed)

    async def _known(self, begin: str) -> list[Stretch]:
        async with self._work(read_only=True) as w:
            return await w.index.stretches(self._uid, begin)

    async def _look(self, seen: Seen) -> _Looked:
        """Compare a stretch with the index, and examine what differs."""
        edges = edge_stems(seen)
        files = [file for file in seen.files if not edges or stem_of(file.key) not in edges]
        for stem in edges:
            files += await files_of_stem(self._store, stem)
        candidates = pair(files)
        ids = [image_id_of(candidate.image.key) for candidate in candidates]
        async with self._work(read_only=True) as w:
            indexed = await w.index.tags(self._uid, seen.after, seen.end)
            gone = list(indexed.keys() - set(ids))
            if edges:
                indexed |= await w.index.tags_of(self._uid, ids)
            to_examine = [one for image_id, one in zip(ids, candidates, strict=True) if indexed.get(image_id) != one.source_tag]
            previous = await w.images.many(
                self._uid, [image_id for one in to_examine if (image_id := image_id_of(one.image.key)) in indexed]
            )
            now = w.now
        examined: list[Examined] = []
        for batch in _batches(to_examine, EXAMINED):
            examined += [found for found in await examine(self._store, self._reader, batch, previous, at=now) if found is not None]
        stretch = Stretch(seen.after, seen.end, seen.digest, sum(is_image(file.key) for file in seen.files))
        return _Looked(stretch, examined, indexed, gone, is_settled=len(examined) == len(to_examine))

    async def _take_over(self, looked: _Looked) -> bool:
        """Save a stretch with its facts; False when the dataset is gone."""
        async with self._work() as w:
            dataset = await w.datasets.find(self._uid, lock=True)
            if dataset is None:
                return False
            ids = [*(found.image.image_id for found in looked.examined), *looked.gone]
            rows = await w.images.many(self._uid, ids)
            # Where labels were written through Inkwright meanwhile, the next sync looks again.
            mine = [one for one in looked.examined if _tag(rows.get(one.image.image_id)) == looked.indexed.get(one.image.image_id)]
            for found in mine:
                dataset = dataset.counted(rows.get(found.image.image_id), found.image)
            await w.index.put_images(self._uid, mine, new=[one.image.image_id for one in mine if one.image.image_id not in rows])
            _tell(w, dataset, mine, rows)
            dataset = await _remove(w, dataset, [rows[image_id] for image_id in looked.gone if image_id in rows])
            is_settled = looked.is_settled and len(mine) == len(looked.examined)
            stretch = looked.stretch if is_settled else replace(looked.stretch, digest=UNSETTLED)
            await w.index.put_stretch(self._uid, stretch)
            self._move_on(stretch, len(looked.examined))
            await w.datasets.put(dataset.moved_on(self._progress))
            await w.commit()
        return True

    async def _pass_over(self, stretch: Stretch) -> bool:
        """A stretch in which nothing changed; False when the dataset is gone."""
        self._move_on(stretch, 0)
        if time.monotonic() - self._reported < REPORT_SECONDS:
            return True
        self._reported = time.monotonic()
        async with self._work() as w:
            dataset = await w.datasets.find(self._uid, lock=True)
            if dataset is None:
                return False
            await w.datasets.put(dataset.moved_on(self._progress))
            await w.commit()
        return True

    def _move_on(self, stretch: Stretch, num_changed: int) -> None:
        num_seen = self._progress.num_seen + stretch.num_images
        rate = (num_seen - self._num_before) / max(time.monotonic() - self._began, 1e-3)
        self._progress = Progress(num_seen, self._progress.num_changed + num_changed, round(rate, 1), stretch.end)


async def holds_image(store: ObjectStore) -> bool:
    """Whether there is a file with an image's name."""
    after: str | None = None
    while True:
        page = await store.list(after=after)
        if any(is_image(item.key) for item in page.items):
            return True
        if page.next_after is None:
            return False
        after = page.next_after


def _no_images(dataset: Dataset) -> NoImages:
    if dataset.sync_number == 0:
        return NoImages(f"{dataset.path} holds no JPG, PNG or BMP image; put images there, then sync again.", path=dataset.path)
    # An unmounted disk looks like an empty folder: the index is kept.
    where = "its disk is there" if dataset.storage_type is StorageType.LOCAL else "the path is right"
    return NoImages(f"{dataset.path} holds no image any more; check that {where}, then sync again.", path=dataset.path)


async def _nothing_to_do(stretch: Stretch) -> _Looked:
    return _Looked(stretch, (), {}, (), is_settled=True)


def _tell(w: DatasetWork, dataset: Dataset, examined: Sequence[Examined], rows: Mapping[str, Image]) -> None:
    opened: list[str] = []
    for new in (found.image for found in examined):
        old, name = rows.get(new.image_id), dataset.image_name(new.image_id)
        if new.is_usable and not (old and old.is_usable):
            opened.append(name)
        elif old and old.is_usable and _differs(old, new):
            fact = ImageChanged(image=name, store_etag=new.store_etag, label_digest=new.label_digest)
            w.tell(fact, resource="image", id=new.image_id)
    for names in _batches(opened, NAMED):
        fact_opened = ImagesIndexed(dataset=dataset.name, sync_number=dataset.sync_number + 1, images=names)
        w.tell(fact_opened, resource="dataset", id=dataset.dataset_id)


async def _remove(w: DatasetWork, dataset: Dataset, images: Sequence[Image]) -> Dataset:
    for image in images:
        dataset = dataset.counted(image, None)
        if image.is_usable:
            w.tell(ImageRemoved(image=dataset.image_name(image.image_id)), resource="image", id=image.image_id)
    await w.images.remove(dataset.uid, [image.image_id for image in images])
    return dataset


def _tag(row: Image | None) -> str | None:
    return row.source_tag if row else None


def _differs(old: Image, new: Image) -> bool:
    return (old.store_etag, old.label_digest, old.state) != (new.store_etag, new.label_digest, new.state)


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
