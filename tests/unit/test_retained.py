"""What a model has kept of the characters it was not shown."""

from collections.abc import Collection, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from libs.ocrkit import retained
from libs.ocrkit.charset import Charset
from libs.ocrkit.replay import ReplayLine
from libs.ocrkit.retained import ReplayScore, RetainedCheck, most_lost, score_readings

CHARSET = Charset(("a", "b", "é", "{", "₩", "猫", " "))


class Remembering:
    """Reads a line of one repeated character, whose code point is its width, unless it has forgotten it."""

    def __init__(self, forgotten: str = "") -> None:
        self.forgotten = forgotten

    def read_crops(self, crops: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
        characters = [chr(crop.shape[1]) for crop in crops]
        return [("??" if character in self.forgotten else character * 2, 0.9) for character in characters]


@pytest.fixture(autouse=True)
def one_line_a_character(monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(characters: Collection[str], num_lines: int, *, seed: int, part: str) -> list[ReplayLine]:
        assert part == "check"
        return [ReplayLine(np.zeros((48, ord(one), 3), dtype=np.uint8), one * 2, "Any") for one in sorted(set(characters) - {" "})]

    monkeypatch.setattr(retained, "replay_lines", lines)


def test_absent_characters_are_those_the_base_reads_and_no_label_shows() -> None:
    check = RetainedCheck(CHARSET, ["ab a", "b"])
    base = check.of_base(Remembering(forgotten="₩"))
    assert check.absent == {"é", "{"}
    assert base is not None
    assert base.decisive is base.absent
    assert base.decisive.character_accuracy == 1.0
    assert base.alphabet.character_accuracy == pytest.approx(4 / 5)

    trained = check.of_trained(Remembering(forgotten="é"))
    assert trained is not None
    assert trained.decisive == ReplayScore(0.5, 0.5, 2, {"é": 0.0, "{": 1.0})
    assert most_lost(base.decisive, trained.decisive) == [("é", 1.0, 0.0)]


def test_labels_that_show_everything_leave_the_whole_alphabet() -> None:
    check = RetainedCheck(CHARSET, ["ab é{₩"])
    base = check.of_base(Remembering())
    assert base is not None
    assert base.absent is None
    assert base.decisive is base.alphabet


def test_without_fonts_there_is_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retained, "replay_lines", lambda *_args, **_kwargs: [])
    check = RetainedCheck(CHARSET, [])
    assert check.of_base(Remembering()) is None
    assert check.of_trained(Remembering()) is None


def test_only_the_character_itself_counts_white_space_aside() -> None:
    score = score_readings([("¥5 µ", "¥5  µ"), ("¥5 µ", "￥5 μ")])
    assert (score.character_accuracy, score.line_accuracy) == (0.75, 0.5)


def test_recall_is_of_each_character() -> None:
    score = score_readings([("éa", "ea"), ("éé", "éé"), ("a", "a")])
    assert score.recall == {"a": 1.0, "é": pytest.approx(2 / 3)}
    assert score.character_accuracy == pytest.approx(4 / 5)
    assert score.line_accuracy == pytest.approx(2 / 3)


def test_more_edits_than_characters_are_no_less_than_nothing() -> None:
    assert score_readings([("a", "xxxxx")]).character_accuracy == 0.0
