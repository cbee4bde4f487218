"""A run of a model over the empty pages of a dataset. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from libs.runtime.names import DATASET, PRELABEL
from services.labeling.boxes import Box, BoxInvalid, CreateBox, Operation, Quad, Source, clean_text, clockwise, settle_quad


class PrelabelState(StrEnum):
    """See ``Prelabel.State`` in the proto."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class SuggestedLine:
    """What a model read in one place."""

    quad: Quad
    text: str
    confidence: float


@dataclass(frozen=True)
class Prelabel:
    """A run.

    Args:
        model: as asked for, until an instance says which one it is.
        planned: the pages it goes over are chosen.
    """

    prelabel_id: str
    project: str
    dataset_id: str
    model: str
    create_time: datetime
    update_time: datetime
    state: PrelabelState = PrelabelState.RUNNING
    error_message: str = ""
    planned: bool = False
    num_images: int = 0
    num_done: int = 0
    num_failed: int = 0
    num_boxes: int = 0

    @property
    def name(self) -> str:
        """``projects/{project}/datasets/{dataset}/prelabels/{prelabel}``."""
        return PRELABEL.format(project=self.project, dataset=self.dataset_id, prelabel=self.prelabel_id)

    @property
    def dataset(self) -> str:
        """``projects/{project}/datasets/{dataset}``."""
        return DATASET.format(project=self.project, dataset=self.dataset_id)

    def plan(self, num_images: int, *, at: datetime) -> "Prelabel":
        """The pages are chosen."""
        return replace(self, planned=True, num_images=num_images, update_time=at)

    def uses(self, model: str) -> "Prelabel":
        """An instance of ``model`` answers."""
        return replace(self, model=model)

    def read(self, num_boxes: int, *, at: datetime) -> "Prelabel":
        """One more page was read."""
        return replace(self, num_done=self.num_done + 1, num_boxes=self.num_boxes + num_boxes, update_time=at)

    def could_not_read(self, *, at: datetime) -> "Prelabel":
        """One more page could not be read; it counts as done too."""
        return replace(self, num_done=self.num_done + 1, num_failed=self.num_failed + 1, update_time=at)

    def succeeded(self, *, at: datetime) -> "Prelabel":
        """No page is left."""
        return replace(self, state=PrelabelState.SUCCEEDED, update_time=at)

    def failed(self, message: str, *, at: datetime) -> "Prelabel":
        """It cannot go on; suggestions already made stay."""
        return replace(self, state=PrelabelState.FAILED, error_message=message, update_time=at)

    def suggestions(self, lines: Sequence[SuggestedLine], *, width_px: int, height_px: int) -> list[Operation]:
        """The operations that put what was read on a page; lines without text or area are nothing to suggest."""
        found: list[Operation] = []
        for number, line in enumerate(lines, start=1):
            box_id, text = f"{self.prelabel_id}-{number}", clean_text(line.text)
            try:
                quad = settle_quad(clockwise(line.quad), box_id, width_px=width_px, height_px=height_px)
            except BoxInvalid:
                continue
            if text:
                confidence = min(max(line.confidence, 0.0), 1.0)
                box = Box(box_id, quad, text, source=Source.SUGGESTED, confidence=confidence, model=self.model)
                found.append(Operation(box_id, CreateBox(box)))
        return found
