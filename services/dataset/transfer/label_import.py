"""What an import of labels is, and which image a label file means. No I/O, no clock, no random."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from libs.runtime.errors import WrongState
from services.dataset.image import Finding
from services.dataset.pairing import stem_of

MAX_FINDINGS: Final = 20
"""Of one row; further ones are counted."""


class ImportState(StrEnum):
    """Where an import stands."""

    UPLOADING = "UPLOADING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TERMINATED = "TERMINATED"


class Outcome(StrEnum):
    """What became of a row."""

    IMPORTED = "IMPORTED"
    REPAIRED = "REPAIRED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    IMAGE_MISSING = "IMAGE_MISSING"


@dataclass(frozen=True)
class ImportCounts:
    """Rows by their outcomes."""

    num_rows: int = 0
    num_imported: int = 0
    num_repaired: int = 0
    num_skipped: int = 0
    num_failed: int = 0
    num_image_missing: int = 0
    num_boxes: int = 0


@dataclass(frozen=True)
class ImportRow:
    """What became of one image, or of a file or line that belongs to none."""

    number: int
    outcome: Outcome
    image_id: str
    key: str
    label_file: str
    num_boxes: int = 0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ImportCursor:
    """How far an import has come: ``num_rows`` rows of ``label_file``, and all of the files before it in order of their names."""

    label_file: str = ""
    num_rows: int = 0


@dataclass(frozen=True)
class LabelImport:
    """Labels that are brought into a dataset."""

    uid: str
    dataset_uid: str
    state: ImportState
    create_time: datetime
    update_time: datetime
    format: str = ""
    overwrite: bool = False
    dry_run: bool = False
    prefix: str = ""
    file_name: str = ""
    size_bytes: int = 0
    error_message: str = ""
    counts: ImportCounts = ImportCounts()
    cursor: ImportCursor = ImportCursor()

    @property
    def has_ended(self) -> bool:
        """Whether nothing will be done any more."""
        return self.state in (ImportState.SUCCEEDED, ImportState.FAILED, ImportState.TERMINATED)

    def uploaded(self, size_bytes: int, *, at: datetime) -> "LabelImport":
        """Its file is all there.

        Raises:
            WrongState: it was ended meanwhile.
        """
        if self.state is not ImportState.UPLOADING:
            raise WrongState("The import was ended while its file was being sent; start another one.")
        return replace(self, state=ImportState.RUNNING, size_bytes=size_bytes, update_time=at)

    def with_rows(self, rows: Sequence[ImportRow], cursor: ImportCursor, *, at: datetime) -> "LabelImport":
        """Further rows are done."""
        fields = {f"num_{outcome.lower()}": sum(row.outcome is outcome for row in rows) for outcome in Outcome}
        added = ImportCounts(num_rows=len(rows), num_boxes=sum(row.num_boxes for row in rows), **fields)
        counts = ImportCounts(*(getattr(self.counts, name) + getattr(added, name) for name in ImportCounts.__dataclass_fields__))
        return replace(self, counts=counts, cursor=cursor, update_time=at)

    def ended(self, state: ImportState, *, message: str = "", at: datetime) -> "LabelImport":
        """Nothing more will be done; one that has ended stays as it is."""
        return self if self.has_ended else replace(self, state=state, error_message=message, update_time=at)


@dataclass(frozen=True)
class Match:
    """The images that a name fits best: one, several that fit equally well, or none.

    Args:
        keys: in order.
        is_elsewhere: whether folders or extension are not those that the label file names.
    """

    keys: tuple[str, ...] = ()
    is_elsewhere: bool = False


def match_key(said: str, keys: Sequence[str]) -> Match:
    """Choose among images of the same file stem.

    The more of the last parts of both paths agree, the better; then a key that agrees as a whole, then one with the extension that
    was named.

    Args:
        said: what a label file calls its image, cleaned, below the label file's own folder; with or without extension.
        keys: of the candidates.
    """
    ranked = {key: _rank(said, key) for key in keys}
    best = max(ranked.values(), default=(0, False, False))
    if best[0] == 0:
        return Match()
    found = tuple(sorted(key for key, rank in ranked.items() if rank == best))
    shorter = min(said.count("/"), found[0].count("/")) + 1
    return Match(found, is_elsewhere=best[0] < shorter or not best[2])


def _rank(said: str, key: str) -> tuple[int, bool, bool]:
    said_stem, key_parts = stem_of(said), stem_of(key).split("/")
    # A name that was given without its extension may hold a point all the same.
    ends = [parts for parts in (said_stem.split("/"), said.split("/")) if parts[-1] == key_parts[-1]]
    if not ends:
        return 0, False, False
    said_parts = ends[0]
    num_same = next(
        (number for number, (a, b) in enumerate(zip(reversed(said_parts), reversed(key_parts), strict=False)) if a != b),
        min(len(said_parts), len(key_parts)),
    )
    has_same_name = said.rpartition("/")[2] in (key.rpartition("/")[2], key_parts[-1])
    return num_same, num_same == len(key_parts), has_same_name
