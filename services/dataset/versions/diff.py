"""What has changed from one version to another. No I/O, no clock, no random."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.dataset.image import LabelBox
from services.dataset.versions.version import VersionEntry

MAX_TEXT_CHANGES: Final = 20
"""Of one image; a page that was labelled anew has hundreds that nobody reads."""


class DifferenceKind(StrEnum):
    """See ``VersionDifference.Kind`` in the proto."""

    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"


@dataclass(frozen=True)
class DiffCounts:
    """Images by how they differ; one may count under several kinds of change."""

    num_added: int = 0
    num_removed: int = 0
    num_image_changed: int = 0
    num_labels_changed: int = 0
    num_test_changed: int = 0
    num_unchanged: int = 0

    def __add__(self, other: "DiffCounts") -> "DiffCounts":
        """Of both together."""
        return DiffCounts(*(ours + theirs for ours, theirs in zip(self.numbers, other.numbers, strict=True)))

    @property
    def numbers(self) -> tuple[int, ...]:
        """In order of the fields."""
        changed = (self.num_image_changed, self.num_labels_changed, self.num_test_changed)
        return self.num_added, self.num_removed, *changed, self.num_unchanged


@dataclass(frozen=True)
class Difference:
    """One image of ``dataset`` (its name) that two versions do not hold alike."""

    dataset: str
    image_id: str
    key: str
    kind: DifferenceKind
    image_changed: bool = False
    labels_changed: bool = False
    test_changed: bool = False
    old_num_boxes: int = 0
    num_boxes: int = 0
    text_changes: tuple[tuple[str, str], ...] = ()


def difference(dataset: str, old: VersionEntry | None, new: VersionEntry | None) -> Difference | None:
    """Between what two versions hold under one key; ``None`` where they hold the same."""
    if old is None or new is None:
        one = old or new
        if one is None:
            return None
        kind = DifferenceKind.ADDED if old is None else DifferenceKind.REMOVED
        old_boxes, boxes = (() if entry is None else entry.boxes for entry in (old, new))
        return Difference(dataset, one.image_id, one.key, kind, old_num_boxes=len(old_boxes), num_boxes=len(boxes))
    image_changed = (old.size_bytes, old.store_etag) != (new.size_bytes, new.store_etag)
    labels_changed, test_changed = old.label_digest != new.label_digest, old.is_test != new.is_test
    if not (image_changed or labels_changed or test_changed):
        return None
    return Difference(
        dataset,
        new.image_id,
        new.key,
        DifferenceKind.CHANGED,
        image_changed=image_changed,
        labels_changed=labels_changed,
        test_changed=test_changed,
        old_num_boxes=len(old.boxes),
        num_boxes=len(new.boxes),
        text_changes=_text_changes(old.boxes, new.boxes),
    )


def _text_changes(old: tuple[LabelBox, ...], new: tuple[LabelBox, ...]) -> tuple[tuple[str, str], ...]:
    """Old and new text of boxes that stayed in their place; where several lie on one place nobody can say which is which."""
    taken = Counter(box.quad for box in old), Counter(box.quad for box in new)
    texts = {box.quad: box.text for box in old if taken[0][box.quad] == 1}
    changes = ((texts[box.quad], box.text) for box in new if box.quad in texts and taken[1][box.quad] == 1)
    return tuple(change for change in changes if change[0] != change[1])[:MAX_TEXT_CHANGES]
