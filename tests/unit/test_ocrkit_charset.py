"""Characters and classes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ocrkit.charset import BASE_ALPHABET, Charset, charset_from_onnx_metadata

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")
CHARSETS = st.lists(CHARACTERS, min_size=1, max_size=40, unique=True).map(lambda characters: Charset(tuple(characters)))


@given(CHARSETS, st.data())
def test_decode_undoes_encode(charset: Charset, data: st.DataObject) -> None:
    text = data.draw(st.text(st.sampled_from(charset.characters)))
    ids = charset.encode(text)
    assert charset.decode(ids) == text
    assert all(1 <= index < charset.num_classes for index in ids)
    assert charset.missing(text) == set()


@given(CHARSETS, st.text())
def test_missing_characters_are_named(charset: Charset, text: str) -> None:
    missing = charset.missing(text)
    assert missing == {character for character in text if character not in charset.characters}
    if missing:
        with pytest.raises(ValueError) as caught:
            charset.encode(text)
        assert all(character in str(caught.value) for character in missing)


@given(CHARSETS, CHARSETS)
def test_digest_tells_contents_and_order(a: Charset, b: Charset) -> None:
    assert (a.digest == b.digest) == (a.characters == b.characters)


def test_blanks_say_nothing() -> None:
    assert Charset(("a", "b")).decode([0, 1, 0, 2, 0]) == "ab"


@pytest.mark.parametrize("characters", [("a", "a"), ("ab",), ("",), ("\n",), ("\ud800",)])
def test_what_is_no_character_is_refused(characters: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Charset(characters)


def test_base_alphabet_holds_what_the_design_promises() -> None:
    alphabet = Charset(BASE_ALPHABET)
    assert alphabet.missing(" Az09~!ÀÿßÑ€£¥¢") == set()
    assert alphabet.missing("×÷\t漢") == {"×", "÷", "\t", "漢"}


def test_ppocr_metadata_ends_with_a_space() -> None:
    charset = charset_from_onnx_metadata({"character": "a\n\u2028\n\u3000\nb"})
    assert charset.characters == ("a", "\u2028", "\u3000", "b", " ")
    assert charset.encode(" ") == [5]


def test_a_model_without_characters_is_refused() -> None:
    with pytest.raises(ValueError, match="character"):
        charset_from_onnx_metadata({})
