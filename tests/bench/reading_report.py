"""What `make bench-read` tells of the readers it measured."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.large_page import HEIGHT_PX, WIDTH_PX
from tests.bench.reader_process import RAPIDOCR, ReaderKind
from tests.bench.report import Table
from tests.bench.turns import Alone, Together

_SCORES = ("det_p", "det_r", "det_h", "e2e_exact", "e2e_folded", "e2e_r_folded", "cer", "fcer")


@dataclass(frozen=True)
class Measured:
    """Everything about one reader.

    Args:
        kind: which.
        alone: one process of it.
        together: as many as there are cores; None where that was not measured.
        scores: on the pages.
        large_scores: on the large page; empty where it was not read.
    """

    kind: ReaderKind
    alone: Alone
    together: Together | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    large_scores: Mapping[str, float] = field(default_factory=dict)

    def over(self, peer: "Measured") -> tuple[float, float | None]:
        """How many times the pages a second of a peer, alone and together."""
        alone = self.alone.pages_a_second / peer.alone.pages_a_second
        if self.together is None or peer.together is None:
            return alone, None
        return alone, self.together.pages_a_second / peer.together.pages_a_second


def figures(readers: Sequence[Measured]) -> dict[str, object]:
    """All numbers, by reader."""
    peer = _peer(readers)
    return {
        reader.kind.title: {
            "about": dict(reader.alone.about),
            "alone": {"pages_a_second": reader.alone.pages_a_second, "over_rapidocr": reader.over(peer)[0]},
            "together": reader.together and {"pages_a_second": reader.together.pages_a_second, "over_rapidocr": reader.over(peer)[1]},
            "page_seconds": [round(seconds, 4) for seconds in reader.alone.seconds],
            "first_answer_seconds": [round(seconds, 3) for seconds in reader.alone.first_answer_seconds],
            "peak_bytes": reader.alone.peak_bytes,
            "scores": dict(reader.scores),
            "large_page": {
                "seconds": round(reader.alone.large_seconds, 3),
                "peak_bytes": reader.alone.large_peak_bytes,
                "scores": dict(reader.large_scores),
            },
        }
        for reader in readers
    }


def tables(readers: Sequence[Measured], *, num_processes: int, is_loose: bool) -> list[Table]:
    """The same for people."""
    return [
        _speed(readers, num_processes),
        _memory(readers),
        score_table([(reader.kind, reader.scores) for reader in readers], is_loose=is_loose),
        about_table((reader.kind, reader.alone.about) for reader in readers),
    ]


def score_table(scored: Sequence[tuple[ReaderKind, Mapping[str, float]]], *, is_loose: bool) -> Table:
    """Measures of each reader."""
    rows = [(kind.title, *(f"{scores[name]:.4f}" for name in _SCORES)) for kind, scores in scored]
    return Table("Scores, loosely folded" if is_loose else "Scores", ("reader", *_SCORES), rows)


def about_table(readers: Iterable[tuple[ReaderKind, Mapping[str, str]]]) -> Table:
    """What read, with digests and versions."""
    rows = [(kind.title, ", ".join(f"{name} {value}" for name, value in about.items())) for kind, about in readers]
    return Table("Readers", ("reader", "what"), rows)


def _speed(readers: Sequence[Measured], num_processes: int) -> Table:
    peer = _peer(readers)
    rows = []
    for reader in readers:
        over_alone, over_together = reader.over(peer)
        rows.append(
            (
                reader.kind.title,
                f"{reader.alone.pages_a_second:.3f}",
                f"{over_alone:.2f}",
                f"{1000 * reader.alone.percentile_seconds(50):.0f}",
                f"{1000 * reader.alone.percentile_seconds(95):.0f}",
                reader.together and f"{reader.together.pages_a_second:.3f}",
                over_together and f"{over_together:.2f}",
            )
        )
    several = f"{num_processes} processes"
    return Table("Speed", ("reader", "pages/s alone", "x RapidOCR", "p50 ms", "p95 ms", f"pages/s, {several}", "x RapidOCR"), rows)


def _memory(readers: Sequence[Measured]) -> Table:
    rows = [
        (
            reader.kind.title,
            f"{reader.alone.first_answer_seconds[0]:.2f}",
            f"{statistics.median(reader.alone.first_answer_seconds[1:]):.2f}",
            _megabytes(reader.alone.peak_bytes),
            _megabytes(reader.alone.large_peak_bytes),
            f"{reader.alone.large_seconds:.2f}" if reader.large_scores else None,
            f"{reader.large_scores['e2e_folded']:.4f}" if reader.large_scores else None,
        )
        for reader in readers
    ]
    large = f"{WIDTH_PX:,} x {HEIGHT_PX:,} page"
    columns = "reader", "first answer ever s", "first answer s", "peak MB", f"peak MB after a {large}", "its s", "its e2e_folded"
    return Table("Start and memory", columns, rows)


def _megabytes(num_bytes: int | None) -> str | None:
    return None if num_bytes is None else f"{num_bytes / 1e6:.0f}"


def _peer(readers: Sequence[Measured]) -> Measured:
    return next(reader for reader in readers if reader.kind is RAPIDOCR)
