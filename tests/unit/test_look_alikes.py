"""Code points that look like others: what is replaced, and what is left alone."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ocrkit.line_steps import line_steps, needed_steps
from libs.ocrkit.look_alikes import LookAlike, normalize_text


@pytest.mark.parametrize(
    ("text", "usual", "kinds"),
    [
        ("plain ASCII", "plain ASCII", []),
        ("Ｔｏｔａｌ\u3000１２", "Total 12", [LookAlike.WIDTH]),
        ("ｱｲｳ", "アイウ", [LookAlike.WIDTH]),
        ("合计：１２", "合计：12", [LookAlike.WIDTH]),
        ("你好，世界！", "你好，世界！", []),
        ("cafe\u0301", "café", [LookAlike.DECOMPOSED]),
        ("\ufe8e\ufedf\ufe92", "الب", [LookAlike.ARABIC_FORM]),
        ("12\u00a0€", "12 €", [LookAlike.NO_BREAK_SPACE]),
        ("Rech\u00adnung", "Rechnung", [LookAlike.SOFT_HYPHEN]),
        ("a\u200bb\ufeffc", "abc", [LookAlike.ZERO_WIDTH]),
        ("a\u200db", "ab", [LookAlike.ZERO_WIDTH]),
        ("می\u200cخواهم", "می\u200cخواهم", []),
        ("Tоtаl", "Total", [LookAlike.MIXED_SCRIPT]),
        ("ΑBC", "ABC", [LookAlike.MIXED_SCRIPT]),
        ("Москва", "Москва", []),
        ("хор", "хор", []),
    ],
)
def test_look_alikes_become_the_usual_code_points(text: str, usual: str, kinds: list[LookAlike]) -> None:
    found = normalize_text(text)
    assert (found.text, list(found.kinds)) == (usual, kinds)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_normalising_again_changes_nothing(text: str) -> None:
    once = normalize_text(text)
    assert normalize_text(once.text) == (once.__class__(once.text, ()))
    assert bool(once.kinds) == (once.text != text)
    assert unicodedata.is_normalized("NFC", once.text)


@pytest.mark.parametrize(("text", "steps"), [("", 0), ("abc", 3), ("aab", 4), ("1111", 7)])
def test_equal_neighbours_need_a_step_between_them(text: str, steps: int) -> None:
    assert needed_steps(text) == steps


def test_a_line_has_steps_by_its_width_whichever_way_it_runs() -> None:
    flat = np.array([[0, 0], [480, 0], [480, 48], [0, 48]], dtype=np.float64)
    upright = np.array([[0, 0], [48, 0], [48, 480], [0, 480]], dtype=np.float64)
    assert line_steps(flat) == line_steps(upright) == 60
