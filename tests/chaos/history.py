"""What was asked of an installation and how each call ended, and whether what stands there afterwards agrees.

The idea is Jepsen's: a call that failed must have had no effect, one that succeeded must have had its effect once, and one whose
answer was lost may have had it once or not at all. Source: https://jepsen.io/consistency, https://github.com/jepsen-io/jepsen.
"""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What was asked."""

    APPLY = "APPLY"
    """Create one box on a page; its id is that of the operation."""
    SUBMIT = "SUBMIT"
    """Write a page's labels beside its image."""
    CREATE = "CREATE"
    """Register a data set."""


class Outcome(StrEnum):
    """How a call ended."""

    OK = "OK"
    FAILED = "FAILED"
    """Refused for good: it must have changed nothing."""
    UNKNOWN = "UNKNOWN"
    """No answer, or one that does not say: it may have changed what it should, or nothing."""


@dataclass
class Call:
    """One call; ``outcome`` is ``None`` while it is in flight.

    Args:
        number: unique, in the order of beginning.
        target: name of the page, or of the data set to be.
        began: seconds since the history began.
        ended: the same; ``None`` while it is in flight.
        version: what the answer says of the target's version; 0 without an answer.
        submitted: of an answered submission, the version that was submitted.
    """

    number: int
    kind: Kind
    target: str
    began: float
    ended: float | None = None
    outcome: Outcome | None = None
    version: int = 0
    submitted: int = 0

    @property
    def operation_id(self) -> str:
        """What the call's operation is known by."""
        return f"op-{self.number}"


class History:
    """Calls of many threads."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    @contextmanager
    def call(self, kind: Kind, target: str) -> Iterator[Call]:
        """A call in flight; the block sets its outcome, and what it does not say is unknown."""
        with self._lock:
            call = Call(next(self._numbers), kind, target, time.monotonic() - self._began)
            self.calls.append(call)
        try:
            yield call
        finally:
            call.ended = time.monotonic() - self._began
            call.outcome = call.outcome or Outcome.UNKNOWN

    @property
    def num_in_flight(self) -> int:
        """Calls that have not ended."""
        with self._lock:
            return sum(call.ended is None for call in self.calls)

    def counts(self) -> dict[str, int]:
        """Calls by outcome."""
        return dict(Counter(str(call.outcome) for call in self.calls))

    def write(self, path: Path) -> None:
        """One JSON line a call."""
        path.write_text("".join(json.dumps(asdict(call)) + "\n" for call in self.calls))


@dataclass
class PageSeen:
    """A page once everything is quiet.

    Args:
        operation_ids: of its log, in order.
        sequence: of the page.
        submitted_sequence: up to where its labels were written.
        boxes: ids of its boxes.
        file_boxes: how many boxes its label file has; ``None`` without a file.
        index_boxes: how many the data set's index says; ``None`` where it does not say that the page was submitted.
    """

    operation_ids: list[str]
    sequence: int
    submitted_sequence: int
    boxes: set[str]
    file_boxes: int | None = None
    index_boxes: int | None = None


@dataclass
class Seen:
    """Everything that can be looked at once it is quiet.

    Args:
        pages: by name.
        datasets: names, and how many images the index of each has.
        images_of: how many images lie in the folder of each data set that was asked for.
        num_dead_letters: messages that were given up.
    """

    pages: Mapping[str, PageSeen] = field(default_factory=dict)
    datasets: Mapping[str, int] = field(default_factory=dict)
    images_of: Mapping[str, int] = field(default_factory=dict)
    num_dead_letters: int = 0


def violations(calls: Iterable[Call], seen: Seen) -> list[str]:
    """What must not be: lost, unasked, doubled, gone back. Empty when all is well."""
    calls = list(calls)
    found = [f"call {call.number} never ended" for call in calls if call.outcome is None]
    for name, page in seen.pages.items():
        found += _of_page(name, page, [call for call in calls if call.target == name])
    found += _of_datasets(seen, [call for call in calls if call.kind is Kind.CREATE])
    if seen.num_dead_letters:
        found.append(f"{seen.num_dead_letters} messages were given up")
    return found


def _of_page(name: str, page: PageSeen, calls: list[Call]) -> Iterator[str]:
    counted = Counter(page.operation_ids)
    applied = {call.operation_id: call for call in calls if call.kind is Kind.APPLY}
    for operation_id, call in applied.items():
        times = counted[operation_id]
        if call.outcome is Outcome.OK and times != 1:
            yield f"{name}: {operation_id} was acknowledged and stands {times} times in the log"
        if call.outcome is Outcome.FAILED and times:
            yield f"{name}: {operation_id} was refused and took effect"
        if times > 1:
            yield f"{name}: {operation_id} took effect {times} times"
        if (times == 1) != (operation_id in page.boxes):
            yield f"{name}: {operation_id} stands {times} times in the log, its box {int(operation_id in page.boxes)} times on the page"
    for operation_id in counted.keys() - applied.keys():
        yield f"{name}: {operation_id} was never asked for"
    if page.sequence != len(page.operation_ids):
        yield f"{name}: sequence {page.sequence} after {len(page.operation_ids)} operations"
    yield from _only_grows(name, page, calls)
    yield from _of_file(name, page, [call for call in calls if call.kind is Kind.SUBMIT])


def _only_grows(name: str, page: PageSeen, calls: list[Call]) -> Iterator[str]:
    answered = [call for call in calls if call.outcome is Outcome.OK and call.ended is not None]
    for call in answered:
        if call.version > page.sequence:
            yield f"{name}: call {call.number} was told version {call.version}, now it is {page.sequence}"
    # Whoever asks after another was answered sees at least what that one saw.
    ends = sorted(answered, key=lambda call: call.ended or 0.0)
    begins = sorted(answered, key=lambda call: call.began)
    highest, at = 0, 0
    for call in begins:
        while at < len(ends) and (ends[at].ended or 0.0) < call.began:
            highest = max(highest, ends[at].version)
            at += 1
        if call.version < highest:
            yield f"{name}: call {call.number} was told version {call.version} after somebody had been told {highest}"


def _of_file(name: str, page: PageSeen, submits: list[Call]) -> Iterator[str]:
    acknowledged = max((call.submitted for call in submits if call.outcome is Outcome.OK), default=0)
    if page.submitted_sequence < acknowledged:
        yield f"{name}: version {acknowledged} was submitted, the page says {page.submitted_sequence}"
    if not submits and (page.submitted_sequence or page.file_boxes is not None):
        yield f"{name}: nobody submitted it, yet it was"
    if not page.submitted_sequence:
        return
    # Every operation creates one box, so the boxes of a version are as many as its number says.
    if page.file_boxes is None or page.file_boxes < page.submitted_sequence:
        yield f"{name}: version {page.submitted_sequence} was submitted, its label file has {page.file_boxes} boxes"
    if page.index_boxes != page.file_boxes:
        yield f"{name}: its label file has {page.file_boxes} boxes, the index says {page.index_boxes}"


def _of_datasets(seen: Seen, creates: list[Call]) -> Iterator[str]:
    asked = {call.target: call for call in creates}
    for name, call in asked.items():
        if call.outcome is Outcome.OK and name not in seen.datasets:
            yield f"{name}: its creation was acknowledged and it is not there"
        if call.outcome is Outcome.FAILED and name in seen.datasets:
            yield f"{name}: its creation was refused and it is there"
        if name in seen.datasets and seen.datasets[name] != seen.images_of[name]:
            yield f"{name}: the index has {seen.datasets[name]} images of {seen.images_of[name]}"
    for name in seen.datasets.keys() - asked.keys():
        yield f"{name}: it was never asked for"
