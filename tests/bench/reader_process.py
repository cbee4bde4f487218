"""A reader as a process of its own, so that each is measured alone: time from its start, memory, time of every answer."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Self

from libs.ocrkit.reading import LineJson
from tests.bench.report import CHECKOUT

PEERS_PYTHON = CHECKOUT / "build" / "peers" / "bin" / "python"
"""Environment of RapidOCR; the Makefile makes it."""


@dataclass(frozen=True)
class ReaderKind:
    """What can be started.

    Args:
        title: for tables.
        python: the interpreter it runs in.
        module: of ``tests.bench.peers``.
        arguments: after the number of threads.
        is_resident: it keeps its models loaded, so its process tells its memory.
    """

    title: str
    python: str
    module: str
    arguments: tuple[str, ...] = ()
    is_resident: bool = True

    def command(self, num_threads: int) -> list[str]:
        """What to start; 0 threads leaves the number to the reader."""
        return [self.python, "-m", f"tests.bench.peers.{self.module}", str(num_threads), *self.arguments]


RAPIDOCR = ReaderKind("RapidOCR", str(PEERS_PYTHON), "read_rapidocr")
TESSERACT = ReaderKind("Tesseract", sys.executable, "read_tesseract", is_resident=False)


def inkwright(title: str, bundle: str) -> ReaderKind:
    """Our reader with a bundle: a file, or ``base``."""
    return ReaderKind(title, sys.executable, "read_inkwright", (bundle,))


def installed_peers() -> list[ReaderKind]:
    """The readers of others that can be started here.

    Raises:
        RuntimeError: the environment of RapidOCR was never made.
    """
    if not PEERS_PYTHON.is_file():
        raise RuntimeError("RapidOCR has no environment yet; `make build/peers/.ready` makes it, with network.")
    return [RAPIDOCR, *([TESSERACT] if which("tesseract") else [])]


@dataclass(frozen=True)
class Answer:
    """Lines of a page and how long they took, the way there and back included."""

    lines: Sequence[LineJson]
    seconds: float


class ReaderProcess:
    """A started reader; it ends with the input, so never outlives this process.

    Args:
        kind: which.
        num_threads: of the process; 0 leaves it to the reader.
    """

    def __init__(self, kind: ReaderKind, *, num_threads: int = 0) -> None:
        self.kind = kind
        self._started_at = time.perf_counter()
        self._process = subprocess.Popen(
            kind.command(num_threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=CHECKOUT
        )

    def read(self, image: Path) -> Answer:
        """Read one image.

        Raises:
            RuntimeError: the reader ended.
        """
        asked_at = time.perf_counter()
        answered = self._ask(str(image.resolve()))
        return Answer(json.loads(answered), time.perf_counter() - asked_at)

    def first(self, image: Path) -> Answer:
        """Read an image as the first one: the seconds count from the start of the process."""
        return Answer(self.read(image).lines, time.perf_counter() - self._started_at)

    def about(self) -> dict[str, str]:
        """Names and versions of what reads."""
        said: dict[str, str] = json.loads(self._ask(""))
        return said

    def peak_bytes(self) -> int | None:
        """Most memory that the process ever held (resident set); None where the work is done by processes of its own."""
        if not self.kind.is_resident:
            return None
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024

    def close(self) -> None:
        """Let it end."""
        self._process.__exit__(None, None, None)

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Where it has ended, no answer comes either; what it said before stands on stderr.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        answered = self._process.stdout.readline()
        if not answered:
            raise RuntimeError(f"{self.kind.title} ended with code {self._process.wait()} on {Path(line).name or 'its start'}.")
        return answered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
