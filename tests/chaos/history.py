"""What was asked of an installation and how each call ended."""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What was asked."""

    APPLY = "APPLY"
    """Change a page by operations, all or none; sent again they are the same operations."""
    SUBMIT = "SUBMIT"
    """Write a page's labels beside its image."""
    CREATE = "CREATE"
    """Register a data set."""
    PRELABEL = "PRELABEL"
    """Have a model fill the empty pages of a data set, and wait for the end."""
    PREDICT = "PREDICT"
    """Have a deployment read the picture that everybody sends, through the public API."""
    TRAIN = "TRAIN"
    """Create a task and wait for its end."""
    DEPLOY = "DEPLOY"
    """Put a model behind an address and wait until it answers."""


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
        target: name of the page, the deployment, or what is to be.
        began: seconds since the history began.
        ended: the same; ``None`` while it is in flight.
        version: what the answer says of the target's version; 0 without an answer.
        submitted: of an answered submission, the version that was submitted.
        operations: ids of what was applied.
        code: of an answered prediction, the public API's; 0 when the picture was read.
        model: of a picture that was read, the digest of the bundle that did; of a deployment, of the one that was wanted.
        text: what it read.
    """

    number: int
    kind: Kind
    target: str
    began: float
    ended: float | None = None
    outcome: Outcome | None = None
    version: int = 0
    submitted: int = 0
    operations: tuple[str, ...] = ()
    code: int = 0
    model: str = ""
    text: tuple[str, ...] = ()


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

    def num_in_flight(self, *, without: Collection[Kind] = ()) -> int:
        """Calls that have not ended, those of some kinds apart."""
        with self._lock:
            return sum(call.ended is None and call.kind not in without for call in self.calls)

    def is_in_flight(self, kind: Kind) -> bool:
        """Whether a call of that kind has not ended."""
        return self.num_in_flight(without=set(Kind) - {kind}) > 0

    def counts(self) -> dict[str, int]:
        """Calls by outcome."""
        return dict(Counter(str(call.outcome) for call in self.calls))

    def counts_by_kind(self) -> dict[str, dict[str, int]]:
        """Calls by what was asked, then by outcome; what nobody asked for is left out."""
        asked = [kind for kind in Kind if any(call.kind is kind for call in self.calls)]
        return {str(kind): dict(Counter(str(call.outcome) for call in self.calls if call.kind is kind)) for kind in asked}

    def write(self, path: Path) -> None:
        """One JSON line a call."""
        path.write_text("".join(json.dumps(asdict(call)) + "\n" for call in self.calls))
