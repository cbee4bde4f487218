"""What a label file says about a page, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.geometry import Quad
from libs.runtime.errors import InvalidInput

Severity = Literal["repaired", "skipped", "failed", "warning"]

Outcome = Literal["imported", "repaired", "skipped", "failed", "unlabeled"]


class LabelUnreadable(InvalidInput):
    """The file is no label file at all; nothing of it was taken over."""

    reason = "LABEL_UNREADABLE"


@dataclass(frozen=True)
class ReadOptions:
    """What a reader never does by itself, because only a person knows that it is right.

    Args:
        nfc: bring texts into Unicode NFC; what the file said is kept as the attribute ``original_text``.
        one_based: coordinates of VOC files count pixels from 1, as those of the original VOC do.
        names_are_classes: ``<name>`` of VOC files is a class, never the text.
        turned: the image is to be turned clockwise by this many degrees to be the one a VOC file speaks of, where its
            ``<size>`` is that of the image with the sides swapped.
    """

    nfc: bool = False
    one_based: bool = False
    names_are_classes: bool = False
    turned: Literal[0, 90, 270] = 0


@dataclass(frozen=True, eq=False)
class TextBox:
    """One labelled piece of text.

    Args:
        quad: where it stands, pixels of the upright image.
        text: as the labeller wrote it, without outer white space; not normalised.
        unreadable: there is text, but nobody can read it: good for finding text, never for reading it.
        attributes: everything else that is known by name (``score``, ``source``, ``box_id`` …).
        outline: float64 (N, 2), the polygon the quad was put around; None where it has just the four corners of the quad.
    """

    quad: Quad
    text: str
    unreadable: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    outline: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Finding:
    """Something the reader had to change, leave out or wonder about.

    Args:
        severity: ``repaired`` (taken over, changed), ``skipped`` (one box left out), ``failed`` (the whole file), ``warning``.
        code: a stable word for programs, in capitals.
        message: one sentence for a person.
        line: line of the label file, from 1; None where there is none.
    """

    severity: Severity
    code: str
    message: str
    line: int | None = None


@dataclass(frozen=True, eq=False)
class Page:
    """An image and all that is labelled on it.

    Args:
        name: of the image in its folder, parts separated by ``/``.
        width_px: of the upright image.
        height_px: of the upright image.
        boxes: in the order of the label file; none at all says that the image holds no text.
        confirmed: somebody has looked over the page and found it right.
        voc: the VOC file the page was read from, for the elements in it that mean nothing to us.
        unknown: names of those elements.
    """

    name: str
    width_px: int
    height_px: int
    boxes: tuple[TextBox, ...]
    confirmed: bool = False
    voc: bytes | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """What became of one image, or of a label file (or a line of it) that belongs to none.

    Args:
        name: of the image; of the label file where no image can be told.
        label_name: of the label file; empty for an image without any.
        page: None where nothing was taken over.
        findings: in the order of the file.
    """

    name: str
    label_name: str
    page: Page | None
    findings: tuple[Finding, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The worst that happened; a warning alone is nothing that happened."""
        severities = {finding.severity for finding in self.findings}
        if self.page is None:
            return "failed" if "failed" in severities else "unlabeled"
        if "skipped" in severities:
            return "skipped"
        return "repaired" if "repaired" in severities else "imported"
