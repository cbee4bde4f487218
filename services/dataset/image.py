"""What an image of a dataset is: a row of its index, with what its label file says. No I/O, no clock, no random."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import product
from typing import Final, Protocol

from libs.runtime.errors import Conflict

MIN_SIDE_PX: Final = 30
"""Both sides of a usable image are longer than this."""
MAX_IMAGE_BYTES: Final = 128 * 1024 * 1024

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
"""Pixels of the upright image, clockwise from the text's top left."""


class ImageChanged(Conflict):
    """The stored image is not the one that was indexed."""

    reason = "IMAGE_CHANGED"


class ImageState(StrEnum):
    """Whether an image can be used."""

    USABLE = "USABLE"
    REJECTED = "REJECTED"


class LabelState(StrEnum):
    """Where an image's labels stand."""

    UNLABELED = "UNLABELED"
    LABELED = "LABELED"
    SUBMITTED = "SUBMITTED"
    RETURNED = "RETURNED"


class Severity(StrEnum):
    """How bad a finding is."""

    REPAIRED = "REPAIRED"
    SKIPPED = "SKIPPED"
    REJECTED = "REJECTED"
    WARNING = "WARNING"


@dataclass(frozen=True)
class Finding:
    """Something a person should know about one row of the index; ``line`` is 0 where there is none."""

    severity: Severity
    code: str
    message: str
    line: int = 0


@dataclass(frozen=True)
class LabelBox:
    """One piece of text in a label file."""

    box_id: str
    quad: Quad
    text: str
    unreadable: bool = False


@dataclass(frozen=True)
class ImageLabels:
    """What a label file says. No file: no boxes, empty etag and digest."""

    boxes: tuple[LabelBox, ...] = ()
    findings: tuple[Finding, ...] = ()
    file_etag: str = ""
    digest: str = ""
    readable: bool = False

    @property
    def num_boxes(self) -> int:
        """Of all of them, those without text included."""
        return len(self.boxes)


class LabelFileFacts(Protocol):
    """What the row of an image takes from its label file."""

    @property
    def num_boxes(self) -> int: ...
    @property
    def findings(self) -> tuple[Finding, ...]: ...
    @property
    def file_etag(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def readable(self) -> bool: ...


@dataclass(frozen=True)
class Image:
    """One row of the index. Sizes are those of the upright image, 0 when it could not be decoded."""

    image_id: str
    key: str
    state: ImageState
    label_state: LabelState
    width_px: int
    height_px: int
    size_bytes: int
    store_etag: str
    label_key: str = ""
    label_etag: str = ""
    label_digest: str = ""
    num_boxes: int = 0
    image_findings: tuple[Finding, ...] = ()
    label_findings: tuple[Finding, ...] = ()
    shares_label_with: tuple[str, ...] = ()
    update_time: datetime | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, those of the image first."""
        return self.image_findings + self.label_findings

    @property
    def source_tag(self) -> str:
        """That of the candidate this row was made from."""
        return source_tag(self.store_etag, self.label_key, self.label_etag, *self.shares_label_with)

    @property
    def is_usable(self) -> bool:
        """Whether it can be labelled and trained on."""
        return self.state is ImageState.USABLE

    def with_labels(self, labels: LabelFileFacts, *, label_key: str, at: datetime) -> "Image":
        """After its label file was read again: a changed file is LABELED whatever was submitted before."""
        if not labels.readable:
            state = LabelState.UNLABELED
        elif labels.digest == self.label_digest and self.label_state is not LabelState.UNLABELED:
            state = self.label_state
        else:
            state = LabelState.LABELED
        return replace(
            self,
            label_state=state,
            label_key=label_key if labels.file_etag else "",
            label_etag=labels.file_etag,
            label_digest=labels.digest if labels.readable else "",
            num_boxes=labels.num_boxes,
            label_findings=labels.findings,
            update_time=at,
        )

    def with_label_key(self, label_key: str) -> "Image":
        """Where its label file will be."""
        return replace(self, label_key=label_key)

    def without_labels(self) -> "Image":
        """A rejected image: whatever lies beside it counts for nothing."""
        return replace(self, label_state=LabelState.UNLABELED, label_digest="", num_boxes=0, label_findings=())

    def submitted(self, num_boxes: int, *, at: datetime) -> "Image":
        """Labels were submitted through Inkwright."""
        return replace(self, label_state=LabelState.SUBMITTED, num_boxes=num_boxes, update_time=at)

    def returned(self, *, at: datetime) -> "Image":
        """A reviewer returned the labels."""
        return replace(self, label_state=LabelState.RETURNED, update_time=at)


KINDS: Final = tuple(product(ImageState, LabelState))
"""The pairs of states that an image can be in."""


def image_id_of(key: str) -> str:
    """The id of the image with this key: the same in every sync."""
    return "img_" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def source_tag(*parts: str) -> str:
    """A short stand-in for everything an index row was made from."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
