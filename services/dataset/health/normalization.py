"""Writing look-alikes of a dataset's labels as the usual code points: where it stands, and what became of each file. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from libs.ocrkit.look_alikes import LookAlike, normalize_text
from services.dataset.health.label_facts import is_decomposed
from services.dataset.image import Image, LabelBox, LabelState


class Result(StrEnum):
    """See ``NormalizedFile.Result`` in the proto."""

    CHANGED = "CHANGED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class FileResult:
    """What became of one label file, and why where it was not changed."""

    image_id: str
    key: str
    result: Result
    num_lines: int = 0
    message: str = ""


@dataclass(frozen=True)
class LineChange:
    """One line before and after."""

    image_id: str
    key: str
    box_id: str
    before: str
    after: str
    kinds: tuple[LookAlike, ...]


@dataclass(frozen=True)
class Normalization:
    """The work on one dataset.

    Args:
        run: of the survey whose findings it walks.
        wanted: it waits or runs.
        cursor: the place among the findings up to which all is done.
    """

    dataset_uid: str
    run: int
    num_files: int
    create_time: datetime
    wanted: bool = True
    cursor: str = ""
    error_message: str = ""
    num_changed: int = 0
    num_skipped: int = 0
    num_failed: int = 0

    def done(self, cursor: str, result: Result) -> "Normalization":
        """One more file."""
        return replace(
            self,
            cursor=cursor,
            num_changed=self.num_changed + (result is Result.CHANGED),
            num_skipped=self.num_skipped + (result is Result.SKIPPED),
            num_failed=self.num_failed + (result is Result.FAILED),
        )

    def ended(self, error_message: str = "") -> "Normalization":
        """All files are done, or it cannot go on."""
        return replace(self, wanted=False, error_message=error_message)


def line_changes(image: Image, boxes: Sequence[LabelBox]) -> list[LineChange]:
    """What would become of the labels of an image.

    Texts that the file holds decomposed stand composed in the index: one entry without a box tells of them.
    """
    changes = [
        LineChange(image.image_id, image.key, box.box_id, box.text, normalized.text, normalized.kinds)
        for box in boxes
        if (normalized := normalize_text(box.text)).kinds
    ]
    if is_decomposed(image):
        changes.append(LineChange(image.image_id, image.key, "", "", "", (LookAlike.DECOMPOSED,)))
    return changes


def normalized(boxes: Sequence[LabelBox]) -> list[LabelBox]:
    """The boxes with their texts in the usual code points."""
    return [replace(box, text=normalize_text(box.text).text) for box in boxes]


def reason_to_skip(image: Image) -> str:
    """Why people's work on this image stands above this; empty when nothing does."""
    if image.label_state in (LabelState.SUBMITTED, LabelState.RETURNED):
        return "Somebody worked on this page in Inkwright; correct it in the editor."
    if not image.is_usable:
        return "The image cannot be used any more."
    return ""
