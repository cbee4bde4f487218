"""Measures of an evaluation and their form on disk."""

from dataclasses import asdict
from typing import Any

from libs.ocrkit.charset import BASE_ALPHABET
from libs.ocrkit.evaluate import EvaluationReport, LineScore
from libs.ocrkit.metrics import EndToEnd


def metrics_of(report: EvaluationReport, *, loss: float) -> dict[str, float]:
    """What a model shows of itself.

    Args:
        loss: CTC on the validation lines, as training measured it.
    """
    return {
        "loss": loss,
        "line_accuracy": report.line_accuracy,
        "cer": report.cer,
        "hmean_exact": report.end_to_end.hmean_exact,
        "hmean_folded": report.end_to_end.hmean_folded,
        "detection_hmean": report.end_to_end.detection_hmean,
        "retained_characters": len(report.retained_characters) / len(BASE_ALPHABET),
    }


def agreement(one: EvaluationReport, other: EvaluationReport) -> tuple[int, int]:
    """How many lines two engines read alike, and how many both have read."""
    theirs = {(line.page, line.box): line.read for line in other.lines}
    both = [(line.read, theirs[line.page, line.box]) for line in one.lines if (line.page, line.box) in theirs]
    return sum(ours == read for ours, read in both), len(both)


def report_to_json(report: EvaluationReport) -> dict[str, Any]:
    """The form in which ``evaluate`` hands a report to ``gate``."""
    return {**asdict(report), "retained_characters": sorted(report.retained_characters)}


def report_from_json(value: dict[str, Any]) -> EvaluationReport:
    """The report that was written."""
    parts = {
        "end_to_end": EndToEnd(**value["end_to_end"]),
        "lines": tuple(LineScore(**line) for line in value["lines"]),
        "retained_characters": frozenset(value["retained_characters"]),
        "unread_pages": tuple(value["unread_pages"]),
    }
    return EvaluationReport(**{**value, **parts})
