"""Readers measured in turns: what disturbs the machine for a while disturbs all of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np

from libs.ocrkit.reading import LineJson
from tests.bench.reader_process import ReaderKind, ReaderProcess

NUM_STARTS = 4
"""The first finds nothing that an earlier process left for it."""

_CHUNK_PAGES_A_PROCESS = 4
"""Pages of a turn: enough that the last page of each process weighs little, few enough for many turns."""


@dataclass
class Alone:
    """One process of a reader, by itself.

    Args:
        about: names and versions of what reads.
        read: lines by stem.
        seconds: of each page, rounds one after another.
        first_answer_seconds: from the start of the process, of each start.
        peak_bytes: most memory held while reading the pages; None where it cannot be told.
        large_peak_bytes: the same after the large page.
        large_seconds: of the large page, read once.
        large_read: its lines.
    """

    about: Mapping[str, str] = field(default_factory=dict)
    read: dict[str, Sequence[LineJson]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    first_answer_seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    large_peak_bytes: int | None = None
    large_seconds: float = 0.0
    large_read: Sequence[LineJson] = ()

    @property
    def pages_a_second(self) -> float:
        """Over all pages."""
        return len(self.seconds) / sum(self.seconds)

    def percentile_seconds(self, percent: int) -> float:
        """Time of a page that ``percent`` of a hundred pages do not exceed."""
        return float(np.percentile(self.seconds, percent))


def measure_alone(kinds: Sequence[ReaderKind], pages: Sequence[Path], large_page: Path | None, *, num_rounds: int = 1) -> list[Alone]:
    """One process of each reader with its own number of threads; each page goes through all of them before the next page does.

    Args:
        kinds: at least one.
        pages: at least one.
        large_page: read last; None leaves it out.
        num_rounds: how often all pages are read.

    Raises:
        RuntimeError: a reader ended.
    """
    results = [Alone() for _ in kinds]
    for _ in range(NUM_STARTS - 1):
        for kind, result in zip(kinds, results, strict=True):
            with ReaderProcess(kind) as process:
                result.first_answer_seconds.append(process.first(pages[0]).seconds)
    with ExitStack() as stack:
        processes: list[ReaderProcess] = []
        for kind, result in zip(kinds, results, strict=True):
            process = stack.enter_context(ReaderProcess(kind))
            result.first_answer_seconds.append(process.first(pages[0]).seconds)
            result.about = process.about()
            processes.append(process)
        for turn, page in enumerate([*pages] * num_rounds):
            for which in _rotated(len(kinds), turn):
                answer = processes[which].read(page)
                results[which].seconds.append(answer.seconds)
                results[which].read[page.stem] = answer.lines
        for process, result in zip(processes, results, strict=True):
            result.peak_bytes = process.peak_bytes()
            if large_page is not None:
                answer = process.read(large_page)
                result.large_seconds, result.large_read = answer.seconds, answer.lines
                result.large_peak_bytes = process.peak_bytes()
    return results


@dataclass
class Together:
    """As many processes of a reader as there are cores.

    Args:
        num_pages: read by all of them.
        seconds: in which they did nothing else.
    """

    num_pages: int = 0
    seconds: float = 0.0

    @property
    def pages_a_second(self) -> float:
        """Of all processes together."""
        return self.num_pages / self.seconds


def measure_together(kinds: Sequence[ReaderKind], pages: Sequence[Path], *, num_processes: int, num_rounds: int = 1) -> list[Together]:
    """``num_processes`` of each reader, one thread each, so that together they fill the cores; the readers take turns of some pages.

    Args:
        kinds: at least one.
        pages: at least one.
        num_processes: cores of the machine.
        num_rounds: how often all pages are read.

    Raises:
        RuntimeError: a reader ended.
    """
    results = [Together() for _ in kinds]
    chunk = _CHUNK_PAGES_A_PROCESS * num_processes
    with ExitStack() as stack:
        crews = [[stack.enter_context(ReaderProcess(kind, num_threads=1)) for _ in range(num_processes)] for kind in kinds]
        for crew in crews:
            _read_all(crew, [pages[0]] * num_processes)  # Loads the models and prepares the shapes.
        turn = 0
        for _ in range(num_rounds):
            for start in range(0, len(pages), chunk):
                for which in _rotated(len(kinds), turn):
                    started_at = time.perf_counter()
                    _read_all(crews[which], pages[start : start + chunk])
                    results[which].seconds += time.perf_counter() - started_at
                    results[which].num_pages += len(pages[start : start + chunk])
                turn += 1
    return results


def _read_all(crew: Sequence[ReaderProcess], pages: Sequence[Path]) -> None:
    """Deal pages to processes, each the next one as soon as it is free."""
    waiting: SimpleQueue[Path] = SimpleQueue()
    for page in pages:
        waiting.put(page)
    failures: SimpleQueue[RuntimeError] = SimpleQueue()

    def work(process: ReaderProcess) -> None:
        try:
            while True:
                process.read(waiting.get_nowait())
        except Empty:
            return
        except RuntimeError as error:
            failures.put(error)

    threads = [Thread(target=work, args=(process,), name=f"reader-{number}") for number, process in enumerate(crew)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not failures.empty():
        raise failures.get()


def _rotated(count: int, turn: int) -> Iterator[int]:
    """Everyone goes first as often as the others."""
    return ((turn + step) % count for step in range(count))
