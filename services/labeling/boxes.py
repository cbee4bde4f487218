"""Boxes, the operations on them, and the rules both keep. No I/O."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from libs.runtime.errors import InvalidInput

MAX_TEXT: Final = 2_000
MIN_AREA_PX: Final = 0.49
"""A reader of label files leaves out what is below 0.5; a hair less here, so that whatever it takes is taken."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Characters no label file can carry, line breaks among them: a box is one piece of text.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ufffe\uffff]")

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
"""Pixels of the upright image, clockwise from the text's top left."""


class BoxNotFound(InvalidInput):
    """An operation names a box that the page does not have."""

    reason = "BOX_NOT_FOUND"


class BoxInvalid(InvalidInput):
    """A box, or what an operation makes of it, breaks a rule."""

    reason = "BOX_INVALID"


class Source(StrEnum):
    """Who put a box there last."""

    HUMAN = "HUMAN"
    IMPORTED = "IMPORTED"
    SUGGESTED = "SUGGESTED"
    ACCEPTED = "ACCEPTED"


@dataclass(frozen=True)
class Box:
    """One piece of text on a page."""

    box_id: str
    quad: Quad
    text: str
    unreadable: bool = False
    source: Source = Source.HUMAN
    confidence: float = 0.0
    model: str = ""


@dataclass(frozen=True)
class CreateBox:
    """Adds a box at the end of the order."""

    box: Box


@dataclass(frozen=True)
class MoveBox:
    """Gives a box another outline."""

    box_id: str
    quad: Quad


@dataclass(frozen=True)
class RetypeBox:
    """Gives a box another text."""

    box_id: str
    text: str


@dataclass(frozen=True)
class DeleteBox:
    """Removes a box."""

    box_id: str


@dataclass(frozen=True)
class MarkBox:
    """Marks a box readable or unreadable."""

    box_id: str
    unreadable: bool


@dataclass(frozen=True)
class ReorderBoxes:
    """Puts the named boxes first."""

    box_ids: tuple[str, ...]


@dataclass(frozen=True)
class AcceptBox:
    """Turns a suggestion into a label."""

    box_id: str


Kind = CreateBox | MoveBox | RetypeBox | DeleteBox | MarkBox | ReorderBoxes | AcceptBox


@dataclass(frozen=True)
class Operation:
    """One edit as its sender wrote it; ``operation_id`` is unique on the page."""

    operation_id: str
    kind: Kind


def check_operation_id(operation_id: str) -> str:
    """Return it.

    Raises:
        InvalidInput: not 1 to 64 letters, digits, ``_``, ``-``.
    """
    if not _ID.fullmatch(operation_id):
        message = f"{operation_id[:80]!r} is no operation id; use 1 to 64 letters, digits, '_' or '-'."
        raise InvalidInput(message, operation_id=operation_id[:80])
    return operation_id


def check_box_id(box_id: str) -> str:
    """Return it.

    Raises:
        BoxInvalid: not 1 to 64 letters, digits, ``_``, ``-``.
    """
    if not _ID.fullmatch(box_id):
        raise BoxInvalid(f"{box_id[:80]!r} is no box id; use 1 to 64 letters, digits, '_' or '-'.", box_id=box_id[:80])
    return box_id


def is_box_id(value: str) -> bool:
    """Whether a box may be called so."""
    return _ID.fullmatch(value) is not None


def check_text(text: str, box_id: str) -> str:
    """Return it.

    Raises:
        BoxInvalid: too long, or with characters that no label file can carry.
    """
    if len(text) > MAX_TEXT:
        message = f"The text of box {box_id} has {len(text)} characters; use at most {MAX_TEXT}."
        raise BoxInvalid(message, box_id=box_id, length=len(text))
    found = _FORBIDDEN.search(text)
    if found:
        code = f"U+{ord(found.group()):04X}"
        raise BoxInvalid(f"The text of box {box_id} holds the control character {code}; remove it.", box_id=box_id, character=code)
    return text


def clean_text(text: str) -> str:
    """What ``check_text`` accepts of a text that comes from a file or a model."""
    return _FORBIDDEN.sub(" ", text)[:MAX_TEXT].strip()


def settle_quad(quad: Quad, box_id: str, *, width_px: int, height_px: int) -> Quad:
    """The quad clipped to the page.

    Raises:
        BoxInvalid: a number that is not finite, no area on the page, or not clockwise.
    """
    if not all(math.isfinite(value) for point in quad for value in point):
        raise BoxInvalid(f"Box {box_id} has a coordinate that is no finite number.", box_id=box_id)
    a, b, c, d = ((min(max(x, 0.0), float(width_px)), min(max(y, 0.0), float(height_px))) for x, y in quad)
    clipped = (a, b, c, d)
    area = signed_area(clipped)
    if abs(area) < MIN_AREA_PX:
        message = f"Box {box_id} has no area on the page of {width_px} x {height_px} pixels; draw it on the image."
        raise BoxInvalid(message, box_id=box_id, width_px=width_px, height_px=height_px)
    if area < 0:
        raise BoxInvalid(f"The corners of box {box_id} must run clockwise, from the top left of the text.", box_id=box_id)
    return clipped


def signed_area(quad: Quad) -> float:
    """Square pixels; positive when the corners run clockwise on the screen."""
    return 0.5 * sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(quad, quad[1:] + quad[:1], strict=True))


def clockwise(quad: Quad) -> Quad:
    """The same outline from the same first corner, clockwise."""
    a, b, c, d = quad
    return quad if signed_area(quad) >= 0 else (a, d, c, b)
