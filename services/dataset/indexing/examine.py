"""Looking at one image and its label file: what of it can be used, and what a person should know."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from libs.ocrkit.labels.xml_text import MAX_BYTES as MAX_LABEL_BYTES
from libs.runtime.errors import Conflict, Fault, InvalidInput, NotFound
from libs.runtime.object_store import ObjectStore
from libs.runtime.parts import Parts, PartsOrFault, Wanted, read_parts
from services.dataset.image import (
    MAX_IMAGE_BYTES,
    Finding,
    Image,
    ImageLabels,
    ImageState,
    LabelState,
    Severity,
    image_id_of,
)
from services.dataset.indexing.label_reader import LabelReader
from services.dataset.indexing.measure import HEAD_BYTES, TAIL_BYTES, Pixels, measure_ends, rejected
from services.dataset.indexing.stored_labels import StoredLabels
from services.dataset.label_file import LabelFile, labels_from_bytes
from services.dataset.pairing import Candidate

_READS: Final = 3
Answers = Mapping[str, PartsOrFault]
"""What was read, by key."""


@dataclass(frozen=True)
class Examined:
    """An index row and what its label file says."""

    image: Image
    labels: StoredLabels


class _Undecided(Exception):
    """The parts that were read do not tell."""


@dataclass(frozen=True)
class _Half:
    """An index row without its labels, and what tells of those."""

    image: Image
    labels: LabelFile | StoredLabels | None
    """None for an image that is rejected: without a size there is nothing to measure boxes against."""


async def examine(
    store: ObjectStore, reader: LabelReader, candidates: Sequence[Candidate], previous: Mapping[str, Image], *, at: datetime
) -> list[Examined | None]:
    """Look at images of the folder, a hundred or so at a time: beginning and end of each, and its label file.

    Args:
        store: holds them.
        reader: of label files.
        candidates: the files.
        previous: their rows by image id, where they have one; an image whose content is still the same is not read again.
        at: the rows' time.

    Returns:
        For each, None when the image went away since it was listed.
    """
    rows = [previous.get(image_id_of(candidate.image.key)) for candidate in candidates]
    wanted = [want for candidate, row in zip(candidates, rows, strict=True) for want in _wanted(candidate, row)]
    read = dict(zip((want.key for want in wanted), await read_parts(store, wanted), strict=True))
    halves: list[_Half | None] = []
    found = await asyncio.to_thread(lambda: [_first_look(*one, read, at=at) for one in zip(candidates, rows, strict=True)])
    for candidate, row, one in zip(candidates, rows, found, strict=True):
        if isinstance(one, _Undecided):
            # Few: a long header, something behind the end, a label file that was written a moment ago.
            whole = {key: await _whole(store, key, candidate) for key in read if key in candidate.keys}
            one = await asyncio.to_thread(_half, candidate, row, whole, at=at, is_whole=True)
        halves.append(one)
    labels = iter(await reader.read([half.labels for half in halves if half and isinstance(half.labels, LabelFile)]))
    return [
        _examined(half.image, next(labels) if isinstance(half.labels, LabelFile) else half.labels, at=at) if half else None
        for half in halves
    ]


def _wanted(candidate: Candidate, row: Image | None) -> Iterator[Wanted]:
    file, label = candidate.image, candidate.label
    if file.size_bytes <= MAX_IMAGE_BYTES and not (row and row.store_etag == file.etag):
        yield Wanted(file.key, file.size_bytes, file.etag, HEAD_BYTES, TAIL_BYTES)
    if label:
        yield Wanted(label.key, label.size_bytes, label.etag, MAX_LABEL_BYTES + 1, is_checked=True)


def _first_look(candidate: Candidate, row: Image | None, read: Answers, *, at: datetime) -> _Half | _Undecided | None:
    try:
        return _half(candidate, row, read, at=at, is_whole=False)
    except _Undecided as undecided:
        return undecided


async def _whole(store: ObjectStore, key: str, candidate: Candidate) -> PartsOrFault:
    try:
        if key == candidate.image.key:
            return Parts(await store.read(key), b"", candidate.image.etag)
        found = await read_with_etag(store, key)
        return Parts(found[0], b"", found[1]) if found else NotFound(f"There is no {key}.", key=key)
    except (Fault, OSError) as error:
        return error


def _half(candidate: Candidate, row: Image | None, read: Answers, *, at: datetime, is_whole: bool) -> _Half | None:
    file, label = candidate.image, candidate.label
    try:
        pixels = _pixels(candidate, row, read)
    except NotFound:
        return None
    is_rejected = any(finding.severity is Severity.REJECTED for finding in pixels.findings)
    image = Image(
        image_id=image_id_of(file.key),
        key=file.key,
        state=ImageState.REJECTED if is_rejected else ImageState.USABLE,
        label_state=row.label_state if row else LabelState.UNLABELED,
        width_px=pixels.width_px,
        height_px=pixels.height_px,
        size_bytes=file.size_bytes,
        store_etag=file.etag,
        label_key=label.key if label else "",
        label_etag=label.etag if label else "",
        label_digest=row.label_digest if row else "",
        image_findings=pixels.findings + _shared(candidate),
        shares_label_with=candidate.shares_label_with,
        update_time=at,
    )
    if is_rejected:
        return _Half(image, None)
    return _Half(image, _labels(image, read[label.key], is_whole=is_whole) if label else StoredLabels())


def _examined(image: Image, labels: StoredLabels | None, *, at: datetime) -> Examined:
    if labels is None:
        return Examined(image.without_labels(), StoredLabels())
    return Examined(image.with_labels(labels, label_key=image.label_key, at=at), labels)


def _pixels(candidate: Candidate, row: Image | None, read: Answers) -> Pixels:
    """
    Raises:
        NotFound: the image went away.
        _Undecided: the whole file has to be looked at.
    """
    file = candidate.image
    if row is not None and row.store_etag == file.etag:
        return Pixels(row.width_px, row.height_px, tuple(finding for finding in row.image_findings if finding.code != "LABEL_SHARED"))
    if file.size_bytes > MAX_IMAGE_BYTES:
        message = f"The file has {file.size_bytes} bytes, more than the {MAX_IMAGE_BYTES} allowed; store the image smaller."
        return rejected("TOO_LARGE", message)
    match read[file.key]:
        case Parts(head, tail):
            pixels = measure_ends(head, tail, file.size_bytes)
            if pixels is None:
                raise _Undecided
            return pixels
        case (Conflict() | InvalidInput() | OSError()) as error:
            return rejected("NOT_READABLE", str(error))
        case error:
            raise error


def _labels(image: Image, answer: PartsOrFault, *, is_whole: bool) -> LabelFile | StoredLabels:
    """
    Raises:
        _Undecided: the file was written since it was listed.
    """
    match answer:
        case Parts(data, _, etag):
            if etag != image.label_etag and not is_whole:
                raise _Undecided
            return LabelFile(data, etag, image.width_px, image.height_px)
        case NotFound():
            return StoredLabels()
        case (Conflict() | InvalidInput() | OSError()) as error:
            if not is_whole:
                raise _Undecided
            return StoredLabels(findings=(Finding(Severity.REJECTED, "LABEL_UNREADABLE", str(error)),), file_etag=image.label_etag)
        case error:
            raise error


async def read_labels(store: ObjectStore, image: Image) -> ImageLabels:
    """Read the label file of a usable image as it is now.

    Raises:
        Conflict: another program keeps writing it.
    """
    found = await read_with_etag(store, image.label_key)
    if found is None:
        return ImageLabels()
    data, etag = found
    return await asyncio.to_thread(labels_from_bytes, LabelFile(data, etag, image.width_px, image.height_px))


async def read_with_etag(store: ObjectStore, key: str) -> tuple[bytes, str] | None:
    """A small file's content and the tag of exactly that content; None when there is no such file.

    A file over the limit of label files comes back cut off just behind it, which no reader takes for a label file.

    Raises:
        Conflict: another program keeps writing it.
    """
    try:
        before = await store.head(key)
        for _ in range(_READS):
            data = await store.read(key, length=MAX_LABEL_BYTES + 1)
            after = await store.head(key)
            if after.etag == before.etag:
                return data, after.etag
            before = after
    except NotFound:
        return None
    raise Conflict(f"{key} is being written by another program; try again when it has finished.", key=key)


def _shared(candidate: Candidate) -> tuple[Finding, ...]:
    if not candidate.shares_label_with:
        return ()
    others = ", ".join(candidate.shares_label_with)
    message = f"{candidate.image.key} and {others} would share one label file; give each image a name of its own."
    return (Finding(Severity.WARNING, "LABEL_SHARED", message),)
