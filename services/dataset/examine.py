"""Looking at one image and its label file: what of it can be used, and what a person should know."""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from libs.ocrkit.image_io import decode_image
from libs.ocrkit.labels.page import Finding as FileFinding
from libs.ocrkit.labels.page import LabelUnreadable, TextBox
from libs.ocrkit.labels.voc import read_voc
from libs.ocrkit.labels.xml_text import MAX_BYTES as MAX_LABEL_BYTES
from libs.runtime.errors import Conflict, ImageUndecodable, InvalidInput, NotFound, TooLarge
from libs.runtime.object_store import ObjectStore
from services.dataset.domain import (
    MAX_IMAGE_BYTES,
    MIN_SIDE_PX,
    Finding,
    Image,
    ImageLabels,
    ImageState,
    LabelBox,
    LabelState,
    Quad,
    Severity,
    image_id_of,
)
from services.dataset.pairing import Candidate

UNREADABLE: Final = "###"
_READS: Final = 3
_BOX_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEVERITIES: Final = {
    "repaired": Severity.REPAIRED,
    "skipped": Severity.SKIPPED,
    "failed": Severity.REJECTED,
    "warning": Severity.WARNING,
}


@dataclass(frozen=True)
class Examined:
    """An index row and the boxes of its label file."""

    image: Image
    boxes: tuple[LabelBox, ...]


@dataclass(frozen=True)
class Pixels:
    """What decoding an image shows."""

    width_px: int
    height_px: int
    findings: tuple[Finding, ...]


async def examine(store: ObjectStore, candidate: Candidate, previous: Image | None, *, at: datetime) -> Examined | None:
    """Look at an image of the folder.

    Args:
        store: holds it.
        candidate: the files.
        previous: its row, where it has one; an image whose content is still the same is not decoded again.
        at: the row's time.

    Returns:
        None when the image went away since it was listed.
    """
    file = candidate.image
    try:
        pixels = await _pixels(store, candidate, previous)
    except NotFound:
        return None
    rejected = any(finding.severity is Severity.REJECTED for finding in pixels.findings)
    image = Image(
        image_id=image_id_of(file.key),
        key=file.key,
        state=ImageState.REJECTED if rejected else ImageState.USABLE,
        label_state=previous.label_state if previous else LabelState.UNLABELED,
        width_px=pixels.width_px,
        height_px=pixels.height_px,
        size_bytes=file.size_bytes,
        store_etag=file.etag,
        label_key=candidate.label.key if candidate.label else "",
        label_etag=candidate.label.etag if candidate.label else "",
        label_digest=previous.label_digest if previous else "",
        image_findings=pixels.findings + _shared(candidate),
        shares_label_with=candidate.shares_label_with,
        update_time=at,
    )
    if rejected:
        # Without a size there is nothing to measure boxes against.
        return Examined(image.without_labels(), ())
    try:
        labels = await read_labels(store, image) if image.label_key else ImageLabels()
    except (Conflict, InvalidInput, OSError) as error:
        labels = ImageLabels((), (Finding(Severity.REJECTED, "LABEL_UNREADABLE", str(error)),), image.label_etag)
    return Examined(image.with_labels(labels, label_key=image.label_key, at=at), labels.boxes)


async def read_labels(store: ObjectStore, image: Image) -> ImageLabels:
    """Read the label file of a usable image as it is now.

    Raises:
        Conflict: another program keeps writing it.
    """
    found = await read_with_etag(store, image.label_key)
    if found is None:
        return ImageLabels()
    data, etag = found
    return await asyncio.to_thread(labels_from_bytes, data, etag, image)


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


def labels_from_bytes(data: bytes, etag: str, image: Image) -> ImageLabels:
    """What a label file says about an image; one that cannot be read gives no boxes and a finding."""
    digest = hashlib.sha256(data).hexdigest()
    try:
        page = read_voc(data, width_px=image.width_px, height_px=image.height_px)
    except LabelUnreadable as fault:
        line = int(fault.metadata.get("line", "0"))
        finding = Finding(Severity.REJECTED, "LABEL_UNREADABLE", fault.message, line)
        return ImageLabels((), (finding,), etag, digest, readable=False)
    findings = tuple(_finding(finding) for finding in page.findings)
    return ImageLabels(boxes_from_file(page.boxes), findings, etag, digest, readable=True)


def boxes_from_file(boxes: tuple[TextBox, ...]) -> tuple[LabelBox, ...]:
    """Boxes as the file has them, each with an id that no other box of the file has."""
    taken: set[str] = set()
    found: list[LabelBox] = []
    for number, box in enumerate(boxes, start=1):
        box_id = box.attributes.get("box_id", "")
        while not _BOX_ID.fullmatch(box_id) or box_id in taken:
            box_id = f"f{number}" if f"f{number}" not in taken else f"f{number}-{len(taken)}"
        taken.add(box_id)
        # "###" is how a label file says that nobody could read it: no text.
        text = "" if box.unreadable and box.text == UNREADABLE else box.text
        found.append(LabelBox(box_id, _quad(box), text, box.unreadable))
    return tuple(found)


def box_to_file(box: LabelBox) -> TextBox:
    """The other way round."""
    return TextBox(np.array(box.quad, dtype=np.float64), box.text, box.unreadable, {"box_id": box.box_id})


def _quad(box: TextBox) -> Quad:
    a, b, c, d = ((float(x), float(y)) for x, y in box.quad.tolist())
    return a, b, c, d


def _finding(finding: FileFinding) -> Finding:
    return Finding(_SEVERITIES[finding.severity], finding.code, finding.message, finding.line or 0)


async def _pixels(store: ObjectStore, candidate: Candidate, previous: Image | None) -> Pixels:
    file = candidate.image
    if previous is not None and previous.store_etag == file.etag:
        kept = tuple(finding for finding in previous.image_findings if finding.code != "LABEL_SHARED")
        return Pixels(previous.width_px, previous.height_px, kept)
    if file.size_bytes > MAX_IMAGE_BYTES:
        message = f"The file has {file.size_bytes} bytes, more than the {MAX_IMAGE_BYTES} allowed; store the image smaller."
        return _rejected("TOO_LARGE", message)
    try:
        data = await store.read(file.key)
    except (InvalidInput, OSError) as error:
        return _rejected("NOT_READABLE", str(error))
    return await asyncio.to_thread(measure, data)


def measure(data: bytes) -> Pixels:
    """The size of an image's upright pixels, and why it cannot be used where it cannot; its size is 0 when it does not decode."""
    try:
        height_px, width_px = decode_image(data).shape[:2]
    except (ImageUndecodable, TooLarge) as fault:
        return _rejected(fault.reason, fault.message)
    if min(width_px, height_px) <= MIN_SIDE_PX:
        message = f"The image has {width_px} x {height_px} pixels; both sides must be over {MIN_SIDE_PX}. Use a larger picture."
        return Pixels(width_px, height_px, (Finding(Severity.REJECTED, "SIDE_TOO_SHORT", message),))
    return Pixels(width_px, height_px, ())


def _rejected(code: str, message: str) -> Pixels:
    return Pixels(0, 0, (Finding(Severity.REJECTED, code, message),))


def _shared(candidate: Candidate) -> tuple[Finding, ...]:
    if not candidate.shares_label_with:
        return ()
    others = ", ".join(candidate.shares_label_with)
    message = f"{candidate.image.key} and {others} would share one label file; give each image a name of its own."
    return (Finding(Severity.WARNING, "LABEL_SHARED", message),)
