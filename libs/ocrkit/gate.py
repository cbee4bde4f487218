"""Whether a trained model may replace another: measured on the same lines, said in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.ocrkit.evaluate import EvaluationReport, LineScore
from libs.ocrkit.metrics import paired_bootstrap
from libs.ocrkit.retained import Retained, most_lost

__all__ = ["GateRules", "Verdict", "judge"]


@dataclass(frozen=True)
class GateRules:
    """What a model must not fall short of.

    Args:
        max_cer_rise: by how much the CER may be higher than the other's, at the upper end of the 95 % interval; a model must be
            clearly no worse, equal within noise is enough.
        max_retained_drop: by how much the character accuracy may fall on the characters that the training labels do not show.
        max_parity: largest difference between trained module and written graph.
        num_samples: of the bootstrap.
        min_lines: with fewer lines the interval says little, which is told but blocks nothing.
    """

    max_cer_rise: float = 0.005
    max_retained_drop: float = 0.02
    max_parity: float = 1e-4
    num_samples: int = 2000
    min_lines: int = 30


@dataclass(frozen=True)
class Verdict:
    """Whether it passed, and sentences for a person: what blocks it first, then what speaks for it or is worth knowing.

    Args:
        cer_change: CER of the candidate minus that of the other (negative is better), and the bounds of its 95 % interval.
    """

    passed: bool
    reasons: tuple[str, ...]
    cer_change: tuple[float, float, float]


def judge(
    candidate: EvaluationReport,
    other: EvaluationReport,
    *,
    parity: Mapping[str, float],
    other_name: str = "the base",
    rules: GateRules | None = None,
) -> Verdict:
    """Compare two models on the lines both have read.

    Args:
        candidate: of the new model.
        other: of the base or of the deployed model, on the same pages.
        parity: of the candidate, by graph.
        other_name: how the sentences call it.
        rules: the usual ones where left out.
    """
    rules = rules or GateRules()
    pairs = _common(candidate, other)
    blocks: list[str] = []
    notes: list[str] = []
    change = (0.0, 0.0, 0.0)
    if not pairs:
        blocks.append("There are no lines both models have read, so nothing can be compared; label pages for validation.")
    else:
        change = paired_bootstrap(
            [theirs.edits for _, theirs in pairs],
            [ours.edits for ours, _ in pairs],
            [len(ours.truth) for ours, _ in pairs],
            num_samples=rules.num_samples,
        )
        mean, low, high = change
        interval = f"{mean:+.4f} (95 % interval {low:+.4f} to {high:+.4f}) on {len(pairs)} lines"
        if high > rules.max_cer_rise:
            blocks.append(f"It may read worse than {other_name}: the character error rate changes by {interval}.")
        elif high < 0:
            notes.append(f"It reads better than {other_name}: the character error rate changes by {interval}.")
        else:
            notes.append(f"It reads about as well as {other_name}: the character error rate changes by {interval}.")
        if len(pairs) < rules.min_lines:
            notes.append(f"Few lines were compared ({len(pairs)}); label more pages to be sure.")
    lost = sorted(other.writable - candidate.writable)
    if lost:
        blocks.append(f"It can no longer write characters that {other_name} can: {' '.join(lost)}.")
    if candidate.retained is not None and other.retained is not None:
        drop, sentence = _retained(candidate.retained, other.retained, other_name)
        if drop > rules.max_retained_drop:
            blocks.append(f"It has forgotten characters. {sentence}")
        else:
            notes.append(sentence)
    for graph, difference in sorted(parity.items()):
        if not difference <= rules.max_parity:
            blocks.append(f"The written graph {graph} differs by {difference:.1e} from what was trained, more than {rules.max_parity:.0e}.")
    ours, theirs = candidate.end_to_end.hmean_exact, other.end_to_end.hmean_exact
    notes.append(f"Whole pages, exact: h-mean {ours:.3f}, {other_name} {theirs:.3f}.")
    return Verdict(passed=not blocks, reasons=(*blocks, *notes), cer_change=change)


def _retained(ours: Retained, theirs: Retained, other_name: str) -> tuple[float, str]:
    """By how much the score falls, and how to say it."""
    after, before = ours.decisive, theirs.decisive
    which = "characters that the training labels do not show" if ours.absent is not None else "the characters of the base alphabet"
    drop = before.character_accuracy - after.character_accuracy
    sentence = (
        f"On {after.num_lines} synthetic lines of {which}, {after.character_accuracy:.3f} of the characters are right, "
        f"with {other_name} {before.character_accuracy:.3f}."
    )
    worst = [f"{character} ({was:.2f} to {now:.2f})" for character, was, now in most_lost(before, after)]
    return drop, f"{sentence} Most is lost on {', '.join(worst)}." if worst and drop > 0 else sentence


def _common(candidate: EvaluationReport, other: EvaluationReport) -> list[tuple[LineScore, LineScore]]:
    theirs = {(line.page, line.box): line for line in other.lines}
    return [(line, theirs[line.page, line.box]) for line in candidate.lines if (line.page, line.box) in theirs]
