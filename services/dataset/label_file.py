"""What the bytes of a label file say about an image, and back."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from libs.ocrkit.labels.page import Finding as FileFinding
from libs.ocrkit.labels.page import LabelUnreadable, TextBox
from libs.ocrkit.labels.voc import read_voc
from services.dataset.image import Finding, ImageLabels, LabelBox, Quad, Severity

UNREADABLE: Final = "###"
_BOX_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEVERITIES: Final = {
    "repaired": Severity.REPAIRED,
    "skipped": Severity.SKIPPED,
    "failed": Severity.REJECTED,
    "warning": Severity.WARNING,
}


class LabelFile(NamedTuple):
    """A label file's content with its tag, and the size of the upright image that it belongs to."""

    data: bytes
    etag: str
    width_px: int
    height_px: int


def labels_from_bytes(file: LabelFile) -> ImageLabels:
    """What a label file says; one that cannot be read gives no boxes and a finding."""
    digest = hashlib.sha256(file.data).hexdigest()
    try:
        page = read_voc(file.data, width_px=file.width_px, height_px=file.height_px)
    except LabelUnreadable as fault:
        line = int(fault.metadata.get("line", "0"))
        finding = Finding(Severity.REJECTED, "LABEL_UNREADABLE", fault.message, line)
        return ImageLabels((), (finding,), file.etag, digest, readable=False)
    findings = (*(finding_from_file(finding) for finding in page.findings), *_without_text(page.boxes))
    return ImageLabels(boxes_from_file(page.boxes), findings, file.etag, digest, readable=True)


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


def finding_from_file(finding: FileFinding) -> Finding:
    """What a reader of labels noticed, as a row of the index has it."""
    return Finding(_SEVERITIES[finding.severity], finding.code, finding.message, finding.line or 0)


def _without_text(boxes: Sequence[TextBox]) -> Iterator[Finding]:
    """A box without text reads as one that nobody could read, which says so with "###"; mostly it was forgotten."""
    number = sum(not box.text for box in boxes)
    if number:
        message = f"{number} of {len(boxes)} boxes have no text and are not learnt; type their text, or mark them as unreadable."
        yield Finding(Severity.WARNING, "EMPTY_TEXT", message)
