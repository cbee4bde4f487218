"""What a label file says, in the form in which the index keeps it."""

from typing import NamedTuple

from services.dataset.boxes import boxes_to_bytes
from services.dataset.image import Finding, ImageLabels
from services.dataset.search.words import words_of


class StoredLabels(NamedTuple):
    """Nothing at all where there is no label file.

    Args:
        boxes: as ``boxes_to_bytes`` writes them.
        words: of their texts, for the search.
    """

    boxes: bytes = b""
    words: str = ""
    num_boxes: int = 0
    findings: tuple[Finding, ...] = ()
    file_etag: str = ""
    digest: str = ""
    readable: bool = False


def stored_labels(labels: ImageLabels) -> StoredLabels:
    """The form of ``labels`` that is kept."""
    words = words_of(box.text for box in labels.boxes)
    kept = boxes_to_bytes(labels.boxes), words, labels.num_boxes
    return StoredLabels(*kept, labels.findings, labels.file_etag, labels.digest, labels.readable)
