"""What blocks a model and what does not."""

from dataclasses import replace

from libs.ocrkit.evaluate import EvaluationReport, LineScore
from libs.ocrkit.gate import judge
from libs.ocrkit.metrics import EndToEnd


def report(edits: list[int], *, characters: str = "abc", hmean: float = 0.8) -> EvaluationReport:
    lines = tuple(LineScore("page.jpg", box, "ten chars!", "?", 0.9, count) for box, count in enumerate(edits))
    return EvaluationReport(
        line_accuracy=sum(count == 0 for count in edits) / len(edits),
        cer=sum(edits) / (10 * len(edits)),
        end_to_end=EndToEnd(hmean, hmean, hmean, hmean, hmean),
        lines=lines,
        retained_characters=frozenset(characters),
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
    verdict = judge(replace(GOOD, retained_characters=frozenset("ac")), BAD, parity={})
    assert not verdict.passed
    assert "can no longer write characters that the base can: b." in verdict.reasons[0]


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
