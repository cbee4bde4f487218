"""How well something was read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from libs.ocrkit.geometry import Quad, quad_bounds, quad_iou

MATCH_IOU = 0.5

Line = tuple[Quad, str]
"""Where a line stands and what it says."""


def edit_distance(truth: str, read: str) -> int:
    """Least number of characters to insert, delete or replace."""
    return int(Levenshtein.distance(truth, read))


def cer(pairs: Iterable[tuple[str, str]]) -> float:
    """Character error rate of (truth, read): edits over characters of the truth; may exceed 1, is 0 without any characters or edits."""
    edits = num_characters = 0
    for truth, read in pairs:
        edits += edit_distance(truth, read)
        num_characters += len(truth)
    return edits / max(1, num_characters)


def line_accuracy(pairs: Iterable[tuple[str, str]]) -> float:
    """Share of (truth, read) that are equal to the last character; 0 where there are none."""
    equal = [truth == read for truth, read in pairs]
    return sum(equal) / max(1, len(equal))


def fold(text: str) -> str:
    """Text without regard to case and white space."""
    return "".join(text.split()).casefold()


@dataclass(frozen=True)
class EndToEnd:
    """Finding and reading together, over all pages; every value in [0, 1].

    A line counts as found when its quad covers a true one with an IoU of at least 0.5, as read when its text is right too.

    Args:
        precision: share of the output that stands in the right place and says exactly the right text.
        recall: share of the truth that was found and read exactly.
        hmean_exact: harmonic mean of the two.
        hmean_folded: the same with case and white space folded.
        detection_hmean: the same for the place alone.
    """

    precision: float
    recall: float
    hmean_exact: float
    hmean_folded: float
    detection_hmean: float


def end_to_end(pages: Iterable[tuple[Sequence[Line], Sequence[Line]]]) -> EndToEnd:
    """Score whole pages, each (truth, read)."""
    num_truth = num_read = found = exact = folded = 0
    for truth, read in pages:
        num_truth += len(truth)
        num_read += len(read)
        for i, j in match_lines([quad for quad, _ in truth], [quad for quad, _ in read]):
            found += 1
            exact += truth[i][1] == read[j][1]
            folded += fold(truth[i][1]) == fold(read[j][1])
    both = max(1, num_truth + num_read)
    return EndToEnd(
        precision=exact / max(1, num_read),
        recall=exact / max(1, num_truth),
        hmean_exact=2 * exact / both,
        hmean_folded=2 * folded / both,
        detection_hmean=2 * found / both,
    )


def match_lines(truth: Sequence[Quad], read: Sequence[Quad], *, min_iou: float = MATCH_IOU) -> list[tuple[int, int]]:
    """Pairs (index in truth, index in read), one to one, best overlap first."""
    if not truth or not read:
        return []
    bounds = np.array([quad_bounds(quad) for quad in read])
    candidates: list[tuple[float, int, int]] = []
    for i, quad in enumerate(truth):
        xmin, ymin, xmax, ymax = quad_bounds(quad)
        near = (bounds[:, 0] < xmax) & (bounds[:, 2] > xmin) & (bounds[:, 1] < ymax) & (bounds[:, 3] > ymin)
        candidates += [(quad_iou(quad, read[j]), i, j) for j in np.flatnonzero(near).tolist()]
    candidates.sort(key=lambda candidate: (-candidate[0], candidate[1], candidate[2]))
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for iou, i, j in candidates:
        if iou < min_iou:
            break
        if i not in matched and j not in taken:
            matched[i] = j
            taken.add(j)
    return list(matched.items())


def paired_bootstrap(
    errors_a: Sequence[float], errors_b: Sequence[float], lengths: Sequence[float], *, num_samples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """How much higher the error rate of B is than that of A on the same lines.

    Args:
        errors_a: edits of A, line by line.
        errors_b: edits of B on the same lines.
        lengths: characters of each line's truth.
        num_samples: how often the lines are drawn anew, with replacement.
        seed: equal seeds give equal answers.

    Returns:
        Rate of B minus rate of A over all lines (negative: B is better), and the bounds of its 95 % interval.

    Raises:
        ValueError: the sequences differ in length, or there are no lines.
    """
    a, b, n = (np.asarray(values, dtype=np.float64) for values in (errors_a, errors_b, lengths))
    if not len(a) == len(b) == len(n) or not len(n):
        raise ValueError("paired samples are needed, one of each for every line, and at least one line")
    difference = b - a
    generator = np.random.default_rng(seed)
    deltas = np.empty(num_samples)
    for sample in range(num_samples):
        drawn = generator.integers(0, len(n), len(n))
        deltas[sample] = difference[drawn].sum() / max(1.0, n[drawn].sum())
    low, high = np.percentile(deltas, [2.5, 97.5])
    return float(difference.sum() / max(1.0, n.sum())), float(low), float(high)
