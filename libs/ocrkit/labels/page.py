"""What a label file says about a page, whatever its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from libs.ocrkit.geometry import Quad
from libs.runtime.errors import InvalidInput

Severity = Literal["repaired", "skipped", "failed", "warning"]


class LabelUnreadable(InvalidInput):
    """The file is no label file at all; nothing of it was taken over."""

    reason = "LABEL_UNREADABLE"


@dataclass(frozen=True, eq=False)
class TextBox:
    """One labelled piece of text.

    Args:
        quad: where it stands, pixels of the upright image.
        text: as the labeller wrote it, without outer white space; not normalised.
        unreadable: there is text, but nobody can read it: good for finding text, never for reading it.
        attributes: everything else that is known by name (``score``, ``source``, ``box_id`` …).
    """

    quad: Quad
    text: str
    unreadable: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


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
