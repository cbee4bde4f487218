"""What blocks a model and what does not."""

import json
from dataclasses import replace

import pytest

from libs.ocrkit.evaluate import EvaluationReport, LineScore
from libs.ocrkit.gate import judge
from libs.ocrkit.metrics import EndToEnd
from libs.ocrkit.retained import ReplayScore, Retained
from services.trainer.nodes.measured import metrics_of, report_from_json, report_to_json


def report(edits: list[int], *, characters: str = "abc", hmean: float = 0.8, retained: Retained | None = None) -> EvaluationReport:
    lines = tuple(LineScore("page.jpg", box, "ten chars!", "?", 0.9, count) for box, count in enumerate(edits))
    return EvaluationReport(
        line_accuracy=sum(count == 0 for count in edits) / len(edits),
        cer=sum(edits) / (10 * len(edits)),
        end_to_end=EndToEnd(hmean, hmean, hmean, hmean, hmean),
        lines=lines,
        writable=frozenset(characters),
        retained=retained,
        model_size_bytes={"rec.onnx": 1},
        num_pages=1,
        unread_pages=(),
        seconds=1.0,
        engine="test",
    )


GOOD = report([0] * 90 + [1] * 10)
BAD = report([0] * 50 + [3] * 50)


def test_a_better_model_passes() -> None:
    verdict = judge(GOOD, BAD, parity={"rec": 1e-6})
    assert verdict.passed
    assert verdict.cer_change[2] < 0
    assert any("reads better than the base" in reason for reason in verdict.reasons)


def test_a_worse_model_is_blocked_in_words() -> None:
    verdict = judge(BAD, GOOD, parity={"rec": 1e-6}, other_name="the deployed model")
    assert not verdict.passed
    assert verdict.reasons[0].startswith("It may read worse than the deployed model")


def test_the_same_model_passes() -> None:
    assert judge(GOOD, GOOD, parity={}).passed


def test_lost_characters_block() -> None:
    verdict = judge(replace(GOOD, writable=frozenset("ac")), BAD, parity={})
    assert not verdict.passed
    assert "can no longer write characters that the base can: b." in verdict.reasons[0]


def retained(accuracy: float, recall: dict[str, float], *, absent: bool = True) -> Retained:
    score = ReplayScore(accuracy, accuracy / 2, 200, recall)
    return Retained(ReplayScore(0.8, 0.4, 120, {}), score) if absent else Retained(score, None)


def test_forgotten_characters_block_in_words() -> None:
    before, after = retained(0.9, {"é": 0.9, "{": 1.0, "ü": 0.7}), retained(0.87, {"é": 0.2, "{": 0.9, "ü": 0.8})
    verdict = judge(replace(GOOD, retained=after), replace(BAD, retained=before), parity={})
    assert not verdict.passed
    assert verdict.reasons[0] == (
        "It has forgotten characters. On 200 synthetic lines of characters that the training labels do not show, "
        "0.870 of the characters are right, with the base 0.900. Most is lost on é (0.90 to 0.20), { (1.00 to 0.90)."
    )


def test_a_small_loss_of_characters_is_told_and_blocks_nothing() -> None:
    before, after = retained(0.9, {"é": 0.9}), retained(0.885, {"é": 0.8})
    verdict = judge(replace(GOOD, retained=after), replace(BAD, retained=before), parity={})
    assert verdict.passed
    assert any("0.885 of the characters are right" in reason for reason in verdict.reasons)


def test_labels_that_show_the_whole_alphabet_are_judged_on_all_of_it() -> None:
    before, after = retained(0.9, {}, absent=False), retained(0.5, {}, absent=False)
    verdict = judge(replace(GOOD, retained=after), replace(BAD, retained=before), parity={})
    assert "lines of the characters of the base alphabet" in verdict.reasons[0]


@pytest.mark.parametrize("of", [None, retained(0.9, {"é": 1.0}), retained(0.9, {"é": 1.0}, absent=False)], ids=["none", "absent", "all"])
def test_a_report_survives_its_way_from_evaluate_to_gate(of: Retained | None) -> None:
    written = replace(GOOD, retained=of)
    assert report_from_json(json.loads(json.dumps(report_to_json(written)))) == written
    assert metrics_of(written, loss=1.0).get("retained_characters") == (None if of is None else 0.9)


def test_a_drifted_graph_blocks_and_so_does_one_that_is_no_number() -> None:
    for parity in (2e-4, float("nan")):
        verdict = judge(GOOD, BAD, parity={"rec": parity})
        assert not verdict.passed
        assert "written graph rec" in verdict.reasons[0]


def test_models_without_common_lines_cannot_be_compared() -> None:
    other = replace(BAD, lines=tuple(replace(line, page="another.jpg") for line in BAD.lines))
    verdict = judge(GOOD, other, parity={})
    assert not verdict.passed
    assert "nothing can be compared" in verdict.reasons[0]
