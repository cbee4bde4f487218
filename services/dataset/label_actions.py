"""Image bytes and label files: reading them from the store, and writing labels beside the image."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from libs.ocrkit.labels.voc import write_voc
from libs.runtime.errors import AlreadyExists, Conflict, InvalidInput, WrongState
from libs.runtime.object_store import ObjectStore
from services.dataset.actions import get_image
from services.dataset.domain import Dataset
from services.dataset.image import Image, ImageChanged, ImageLabels, LabelBox
from services.dataset.indexing.examine import read_labels, read_with_etag
from services.dataset.label_file import LabelFile, box_to_file, labels_from_bytes
from services.dataset.pairing import LABEL_SUFFIX, stem_of
from services.dataset.store import DatasetWork, Work
from services.dataset.stores import Stores

CHUNK_BYTES: Final = 1024 * 1024


async def read_image(
    work: Work, stores: Stores, dataset_name: str, image_id: str, *, store_etag: str, start: int = 0, length: int = 0
) -> AsyncIterator[bytes]:
    """The image's bytes as stored, in pieces of at most 1 MiB.

    Args:
        work: units of work.
        stores: opens the dataset's store.
        dataset_name: of the dataset.
        image_id: of the image.
        store_etag: of the only content that is wanted; empty for any.
        start: the first byte that is wanted.
        length: bytes from there; 0 for all.

    Raises:
        InvalidInput: a negative ``start`` or ``length``.
        NotFound: no such dataset or image, or its file is gone.
        ImageChanged: ``store_etag`` is given and the stored image has, or gets while it is read, another one.
    """
    if start < 0 or length < 0:
        raise InvalidInput(f"Bytes {start} + {length} were asked for; give numbers that are not negative.", field="start_byte")
    dataset, image = await get_image(work, dataset_name, image_id)
    store = await stores.open(dataset.place)
    await check_unchanged(store, image, store_etag)
    pieces = _read_range(store, image.key, start, length) if start or length else store.read_stream(image.key, chunk_bytes=CHUNK_BYTES)
    async for chunk in pieces:
        yield chunk
    await check_unchanged(store, image, store_etag)


async def get_image_labels(
    work: Work, stores: Stores, dataset_name: str, image_id: str, *, even_trashed: bool = False
) -> tuple[Dataset, Image, ImageLabels]:
    """What the label file beside an image says at this moment.

    Raises:
        NotFound: no such dataset or image.
        WrongState: the image is rejected, or the dataset is in the trash and ``even_trashed`` is not given.
        Conflict: another program keeps writing the file.
    """
    dataset, image = await get_image(work, dataset_name, image_id, even_trashed=even_trashed)
    _check_usable(dataset, image)
    store = await stores.open(dataset.place)
    return dataset, image, await read_labels(store, with_label_key(image))


async def write_image_labels(
    work: Work, stores: Stores, dataset_name: str, image_id: str, *, boxes: Sequence[LabelBox], file_etag: str
) -> tuple[Dataset, Image, ImageLabels]:
    """Write the label file beside an image.

    What it replaces is kept in the database first. What lies there already in the same words is left alone.

    Args:
        work: units of work.
        stores: opens the dataset's store.
        dataset_name: of the dataset.
        image_id: of the image.
        boxes: in their order.
        file_etag: tag of the file the labels were made from; empty when there was none.

    Raises:
        NotFound: no such dataset or image.
        WrongState: the image is rejected.
        Conflict: the file is not the one with ``file_etag``.
        InvalidInput: a text that no XML can carry.
    """
    dataset, image = await get_image(work, dataset_name, image_id)
    _check_usable(dataset, image)
    image = with_label_key(image)
    store = await stores.open(dataset.place)
    found = await read_with_etag(store, image.label_key)
    data = write_voc(
        [box_to_file(box) for box in boxes],
        filename=image.key.rpartition("/")[2],
        width_px=image.width_px,
        height_px=image.height_px,
        previous=found[0] if found else None,
    )
    labels = await put_label_file(work, store, dataset, image, found, data, may_replace=found is not None and found[1] == file_etag)
    return dataset, *await _take_over(work, dataset, image, labels)


async def put_label_file(
    work: Work, store: ObjectStore, dataset: Dataset, image: Image, found: tuple[bytes, str] | None, data: bytes, *, may_replace: bool
) -> ImageLabels:
    """Lay a label file beside an image, never over one that nobody read; what it replaces is kept first.

    Args:
        work: units of work.
        store: holds the image.
        dataset: of the image.
        image: with the key of its label file.
        found: what lies there, with its tag; None when nothing does.
        data: the new file; when it is what lies there, nothing is written.
        may_replace: whether it may take the place of what was found.

    Raises:
        Conflict: the file is another one, or must not be replaced.
    """
    if found is None:
        try:
            etag = (await store.write_new(image.label_key, data)).etag
        except AlreadyExists as fault:
            raise _changed(image) from fault
    elif found[0] == data:
        etag = found[1]
    elif not may_replace:
        raise _changed(image)
    else:
        async with work() as w:
            await w.images.keep_replaced(dataset, image, found[1], found[0], at=w.now)
            await w.commit()
        etag = (await store.replace(image.label_key, data, if_etag=found[1])).etag
    stored = await read_with_etag(store, image.label_key)
    if stored != (data, etag):
        raise _changed(image)
    return labels_from_bytes(LabelFile(data, etag, image.width_px, image.height_px))


async def _take_over(work: Work, dataset: Dataset, image: Image, labels: ImageLabels) -> tuple[Image, ImageLabels]:
    """The written file becomes part of the index, so that the next sync finds nothing new."""
    async with work() as w:
        current = await w.datasets.find(dataset.uid, lock=True)
        rows = await w.images.many(dataset.uid, [image.image_id])
        old = rows.get(image.image_id)
        if current is not None and old is not None:
            changed, image = await taken_over(w, current, old, labels, label_key=image.label_key)
            await w.datasets.put(changed)
            await w.commit()
    return image, labels


async def taken_over(w: DatasetWork, dataset: Dataset, old: Image, labels: ImageLabels, *, label_key: str) -> tuple[Dataset, Image]:
    """Save an image with the labels that were written; the dataset, counted anew, is the caller's to save."""
    new = old.with_labels(labels, label_key=label_key, at=w.now)
    await w.images.put(dataset.uid, new, labels.boxes)
    return dataset.counted(old, new), new


async def check_unchanged(store: ObjectStore, image: Image, store_etag: str) -> None:
    """Compare the stored image with a tag; an empty one fits any.

    Raises:
        NotFound: the file is gone.
        ImageChanged: it has another tag.
    """
    if store_etag and (await store.head(image.key)).etag != store_etag:
        raise ImageChanged(f"{image.key} was changed since it was indexed; sync the dataset, then repeat.", key=image.key)


async def _read_range(store: ObjectStore, key: str, start: int, length: int) -> AsyncIterator[bytes]:
    end = start + length if length else None
    while end is None or start < end:
        piece = await store.read(key, start=start, length=CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - start))
        if not piece:
            return
        yield piece
        start += len(piece)


def with_label_key(image: Image) -> Image:
    """The image with the key its label file has, or will have."""
    return image if image.label_key else image.with_label_key(stem_of(image.key) + LABEL_SUFFIX)


def _check_usable(dataset: Dataset, image: Image) -> None:
    if not image.is_usable:
        name = dataset.image_name(image.image_id)
        reasons = " ".join(finding.message for finding in image.image_findings)
        raise WrongState(f"{name} cannot be labelled: {reasons}", name=name, reasons=reasons)


def _changed(image: Image) -> Conflict:
    message = (
        f"{image.label_key} was changed by somebody else since it was read. Read the page again, or submit with overwrite "
        "to lay your labels over it; the replaced file is kept."
    )
    return Conflict(message, key=image.label_key)
