"""What the labels and the index row of one image say about its health. Pure."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from libs.ocrkit.charset import BASE_ALPHABET
from libs.ocrkit.geometry import quad_bounds
from libs.ocrkit.line_steps import line_steps, needed_steps
from libs.ocrkit.look_alikes import LookAlike, normalize_text
from services.dataset.health.report import Code
from services.dataset.image import Image, LabelBox, Severity

_SAME_PLACE_PX = 2.0
_SHOWN = 3
_KNOWN = frozenset(BASE_ALPHABET)
_OF_ROW = {
    "SIDE_TOO_SHORT": Code.SIDE_TOO_SHORT,
    "EMPTY_TEXT": Code.EMPTY_TEXT,
    "LABEL_UNREADABLE": Code.LABEL_UNREADABLE,
    "OUTSIDE_IMAGE": Code.OUTSIDE_IMAGE,
    "CLIPPED": Code.OUTSIDE_IMAGE,
    "NO_AREA": Code.NO_AREA,
}
"""What the index found already; any other reason to reject an image is that it cannot be read."""


def row_facts(image: Image) -> dict[Code, str]:
    """What the index knows of an image, in its words; of several of a kind the first."""
    found: dict[Code, str] = {}
    for finding in image.findings:
        code = _OF_ROW.get(finding.code)
        if code is None and finding.severity is Severity.REJECTED:
            code = Code.UNREADABLE
        if code is not None:
            found.setdefault(code, finding.message)
    return found


def box_facts(image: Image, boxes: Sequence[LabelBox]) -> dict[Code, str]:
    """What is wrong with the boxes of an image, in a few words each."""
    read = [box for box in boxes if not box.unreadable]
    found = {
        Code.DUPLICATE_BOX: list(_at_same_place(boxes)),
        Code.TEXT_TOO_LONG: [shown(box.text) for box in read if is_too_long(box)],
        Code.LOOK_ALIKE: [shown(box.text) for box in boxes if normalize_text(box.text).kinds],
    }
    if is_decomposed(image):
        found[Code.LOOK_ALIKE].append("letters and accents apart in the file")
    unknown = sorted({one for box in read for one in box.text if one not in _KNOWN})
    found[Code.UNKNOWN_CHARACTER] = unknown
    return {code: _list(ones) for code, ones in found.items() if ones}


def is_decomposed(image: Image) -> bool:
    """Whether the label file has texts in NFD, which the index holds composed."""
    return any(finding.code == "NFC" for finding in image.label_findings)


def look_alikes(image: Image, boxes: Sequence[LabelBox]) -> list[LookAlike]:
    """The kinds of each line that has any, one after the other."""
    kinds = [kind for box in boxes for kind in normalize_text(box.text).kinds]
    return [*kinds, LookAlike.DECOMPOSED] if is_decomposed(image) else kinds


def is_too_long(box: LabelBox) -> bool:
    """Whether no reader can say the text at the width of its box."""
    text = " ".join(box.text.split())
    return bool(text) and needed_steps(text) > line_steps(np.array(box.quad, dtype=np.float64))


def height_px(box: LabelBox) -> float:
    """Of the text in a box, across its direction."""
    (x0, y0), (x3, y3) = box.quad[0], box.quad[3]
    return math.hypot(x3 - x0, y3 - y0)


def angle_degrees(boxes: Sequence[LabelBox]) -> float | None:
    """The direction most text of an image runs in, -180 to 180; None without boxes."""
    if not boxes:
        return None
    angles = sorted(math.degrees(math.atan2(box.quad[1][1] - box.quad[0][1], box.quad[1][0] - box.quad[0][0])) for box in boxes)
    return angles[len(angles) // 2]


def shown(text: str) -> str:
    """A text in a few characters."""
    return text if len(text) <= 40 else text[:39] + "…"


def _list(ones: Sequence[str]) -> str:
    more = f" and {len(ones) - _SHOWN} more" if len(ones) > _SHOWN else ""
    return ", ".join(ones[:_SHOWN]) + more


def _at_same_place(boxes: Sequence[LabelBox]) -> Iterator[str]:
    """Ids of boxes whose bounds another box has, a pixel or two apart."""
    bounds = sorted((quad_bounds(np.array(box.quad, dtype=np.float64)), box.box_id) for box in boxes)
    for index, (one, box_id) in enumerate(bounds):
        before = index - 1
        while before >= 0 and one[0] - bounds[before][0][0] <= _SAME_PLACE_PX:
            if all(abs(a - b) <= _SAME_PLACE_PX for a, b in zip(one, bounds[before][0], strict=True)):
                yield box_id
                break
            before -= 1
