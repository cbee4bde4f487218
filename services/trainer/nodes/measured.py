"""Measures of an evaluation and their form on disk."""

from dataclasses import asdict
from typing import Any

from libs.ocrkit.evaluate import EvaluationReport, LineScore
from libs.ocrkit.metrics import EndToEnd
from libs.ocrkit.retained import ReplayScore, Retained


def metrics_of(report: EvaluationReport, *, loss: float) -> dict[str, float]:
    """What a model shows of itself; without ``retained_characters`` where no replay lines could be made.

    Args:
        loss: CTC on the validation lines, as training measured it.
    """
    metrics = {"loss": loss, **reading_metrics(report)}
    if report.retained is not None:
        metrics["retained_characters"] = report.retained.decisive.character_accuracy
    return metrics


def apart_metrics(report: EvaluationReport | None) -> dict[str, float]:
    """What it shows on the pages of the test set, under names of their own; nothing without one."""
    return {} if report is None else {f"test_{name}": value for name, value in reading_metrics(report).items()}


def reading_metrics(report: EvaluationReport) -> dict[str, float]:
    """How well pages were read."""
    return {
        "line_accuracy": report.line_accuracy,
        "cer": report.cer,
        "hmean_exact": report.end_to_end.hmean_exact,
        "hmean_folded": report.end_to_end.hmean_folded,
        "detection_hmean": report.end_to_end.detection_hmean,
    }


def agreement(one: EvaluationReport, other: EvaluationReport) -> tuple[int, int]:
    """How many lines two engines read alike, and how many both have read."""
    theirs = {(line.page, line.box): line.read for line in other.lines}
    both = [(line.read, theirs[line.page, line.box]) for line in one.lines if (line.page, line.box) in theirs]
    return sum(ours == read for ours, read in both), len(both)


def report_to_json(report: EvaluationReport) -> dict[str, Any]:
    """The form in which ``evaluate`` hands a report to ``gate``."""
    return {**asdict(report), "writable": sorted(report.writable)}


def report_from_json(value: dict[str, Any]) -> EvaluationReport:
    """The report that was written."""
    parts = {
        "end_to_end": EndToEnd(**value["end_to_end"]),
        "lines": tuple(LineScore(**line) for line in value["lines"]),
        "writable": frozenset(value["writable"]),
        "retained": _retained_from_json(value["retained"]),
        "unread_pages": tuple(value["unread_pages"]),
    }
    return EvaluationReport(**{**value, **parts})


def _retained_from_json(value: dict[str, Any] | None) -> Retained | None:
    if value is None:
        return None
    return Retained(ReplayScore(**value["alphabet"]), ReplayScore(**value["absent"]) if value["absent"] is not None else None)
