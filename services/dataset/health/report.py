"""What a survey of a dataset looks for, and where one stands. No I/O, no clock, no random."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from libs.runtime.errors import WrongState

RARE_BELOW: Final = 10
"""A character seen fewer times than this is rare."""
FEW_IMAGES: Final = 50
"""A dataset or a folder with fewer images is small."""


class NotSurveyed(WrongState):
    """No survey has finished yet."""

    reason = "DATASET_NOT_READY"


class Weight(StrEnum):
    """See ``HealthFinding.Severity`` in the proto."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    ADVICE = "ADVICE"


class Code(StrEnum):
    """Everything a survey looks for; in the order of the report."""

    UNREADABLE = "UNREADABLE"
    SIDE_TOO_SHORT = "SIDE_TOO_SHORT"
    LABEL_UNREADABLE = "LABEL_UNREADABLE"
    EMPTY_TEXT = "EMPTY_TEXT"
    OUTSIDE_IMAGE = "OUTSIDE_IMAGE"
    NO_AREA = "NO_AREA"
    DUPLICATE_BOX = "DUPLICATE_BOX"
    TEXT_TOO_LONG = "TEXT_TOO_LONG"
    LOOK_ALIKE = "LOOK_ALIKE"
    CROSSES_FOLDERS = "CROSSES_FOLDERS"
    CROSSES_LABELS = "CROSSES_LABELS"
    EXACT_DUPLICATE = "EXACT_DUPLICATE"
    NEAR_DUPLICATE = "NEAR_DUPLICATE"
    ANIMATED = "ANIMATED"
    CMYK = "CMYK"
    SIXTEEN_BIT = "SIXTEEN_BIT"
    EXIF_TURNED = "EXIF_TURNED"
    UNKNOWN_CHARACTER = "UNKNOWN_CHARACTER"
    RARE_CHARACTER = "RARE_CHARACTER"
    FEW_IMAGES = "FEW_IMAGES"
    SMALL_FOLDER = "SMALL_FOLDER"
    ONE_CAMERA = "ONE_CAMERA"
    ONE_ANGLE = "ONE_ANGLE"
    ONE_BACKGROUND = "ONE_BACKGROUND"


MEANINGS: Final[dict[Code, tuple[Weight, str]]] = {
    Code.UNREADABLE: (Weight.ERROR, "These images cannot be decoded; copy the files again or save them as JPG or PNG."),
    Code.SIDE_TOO_SHORT: (Weight.ERROR, "A side of these images is 30 px or shorter; use larger pictures."),
    Code.LABEL_UNREADABLE: (Weight.ERROR, "These label files cannot be read and count as missing; repair them, then sync."),
    Code.EMPTY_TEXT: (Weight.WARNING, "Boxes without text are not learnt; type their text, or mark them as unreadable."),
    Code.OUTSIDE_IMAGE: (Weight.WARNING, "Boxes reach out of the image and were clipped or left out; draw them again."),
    Code.NO_AREA: (Weight.WARNING, "Boxes without area were left out; draw them again."),
    Code.DUPLICATE_BOX: (Weight.WARNING, "Several boxes lie at the same place; delete all but one of them."),
    Code.TEXT_TOO_LONG: (
        Weight.WARNING,
        "These texts have more characters than a reader can say at the width of their box, and are not learnt; draw the box around the "
        "whole text, or correct the text.",
    ),
    Code.LOOK_ALIKE: (
        Weight.WARNING,
        "Texts hold code points that look like others, each of which would have to be learnt twice; see the preview of `inkctl dataset "
        "normalize`, then run it with --apply.",
    ),
    Code.CROSSES_FOLDERS: (
        Weight.WARNING,
        "The same picture lies in several folders: with one of them as a test set, the test would be too kind; keep it in one folder.",
    ),
    Code.CROSSES_LABELS: (Weight.WARNING, "The same picture is there with and without labels; label all of a group, or delete copies."),
    Code.EXACT_DUPLICATE: (Weight.WARNING, "These files hold the same bytes; keep one of each group."),
    Code.NEAR_DUPLICATE: (
        Weight.ADVICE,
        "These images show nearly the same and stay on one side of every split; more different ones teach more.",
    ),
    Code.ANIMATED: (Weight.WARNING, "Only the first frame of these images is read; save the frame you mean as an image of its own."),
    Code.CMYK: (
        Weight.ADVICE,
        "These images are stored in printing colours and are converted; save them as RGB to be sure of what is read.",
    ),
    Code.SIXTEEN_BIT: (Weight.ADVICE, "These images have more than 8 bits a channel and are reduced to 8; nothing has to be done."),
    Code.EXIF_TURNED: (
        Weight.ADVICE,
        "These images are stored turned and are shown upright; boxes drawn by a program that ignores EXIF would lie wrong: look at one.",
    ),
    Code.UNKNOWN_CHARACTER: (
        Weight.ADVICE,
        "These texts hold characters outside the base alphabet, which are learnt from your labels alone; have many examples of each.",
    ),
    Code.RARE_CHARACTER: (
        Weight.ADVICE,
        f"These texts hold characters that are seen fewer than {RARE_BELOW} times in all; label more images that hold them.",
    ),
    Code.FEW_IMAGES: (Weight.ADVICE, f"There are fewer than {FEW_IMAGES} usable images; over {FEW_IMAGES} of a kind read clearly better."),
    Code.SMALL_FOLDER: (Weight.ADVICE, f"These folders hold fewer than {FEW_IMAGES} usable images each; add more of their kind."),
    Code.ONE_CAMERA: (
        Weight.ADVICE,
        "Nearly all images come from one camera, or have one size; add pictures from others that will be used.",
    ),
    Code.ONE_ANGLE: (Weight.ADVICE, "The text of nearly all images runs in one direction; add turned pictures if they will come."),
    Code.ONE_BACKGROUND: (Weight.ADVICE, "The border of nearly all images is equally bright; add pictures on other backgrounds."),
}


class Phase(StrEnum):
    """What a survey is doing."""

    IMAGES = "IMAGES"
    """Looks at each image and its labels, in key order."""
    GROUPS = "GROUPS"
    """Finds groups of duplicates."""
    TIDY = "TIDY"
    """The report is finished; what the one before it found is removed."""


@dataclass(frozen=True)
class Survey:
    """Where the survey of a dataset stands.

    Args:
        run: number of this survey; its findings carry it.
        cursor: key up to which the phase is done, where another process goes on.
        tally: what was counted so far, as ``Tally`` packs it.
    """

    dataset_uid: str
    run: int = 0
    wanted: bool = False
    phase: Phase = Phase.IMAGES
    cursor: str = ""
    num_seen: int = 0
    num_images: int = 0
    sync_number: int = 0
    error_message: str = ""
    tally: bytes = b""

    @property
    def is_surveying(self) -> bool:
        """Whether its report is still to come."""
        return self.wanted and self.phase is not Phase.TIDY

    def begun(self, *, sync_number: int, num_images: int) -> "Survey":
        """From the start, for the index that this sync left."""
        return Survey(self.dataset_uid, self.run + 1, wanted=True, sync_number=sync_number, num_images=num_images)

    def moved_on(self, cursor: str, num_seen: int, tally: bytes) -> "Survey":
        """A batch is done."""
        return replace(self, cursor=cursor, num_seen=num_seen, tally=tally)

    def entered(self, phase: Phase) -> "Survey":
        """The next phase begins."""
        return replace(self, phase=phase, cursor="", num_seen=0)

    def ended(self, error_message: str = "") -> "Survey":
        """Nothing is left to do, or it cannot be done."""
        return replace(self, wanted=False, error_message=error_message, tally=b"")


@dataclass(frozen=True)
class Report:
    """A finished report.

    Args:
        run: of the survey that made it.
        content: a ``HealthContent``, as the proto writes it.
    """

    run: int
    sync_number: int
    digest: str
    content: bytes
    create_time: datetime


@dataclass(frozen=True)
class Found:
    """One finding on one image.

    Args:
        place: where it stands among those of its code.
    """

    code: Code
    image_id: str
    key: str
    detail: str = ""
    place: str = ""


@dataclass(frozen=True)
class PixelFacts:
    """What a look at an image's file told; kept until the file changes.

    Args:
        dhash: see ``near_duplicates``.
        content: the first 64 bits of the file's sha256.
        border: brightness at the border, 0 to 255.
        problem: why it could not be looked at; everything else says nothing then.
    """

    store_etag: str
    dhash: int = 0
    content: int = 0
    border: int = 0
    camera: str = ""
    traits: tuple[Code, ...] = ()
    problem: str = ""
