"""Synthetic lines: what they say, what they look like, which fonts they are set in."""

from collections import Counter

import numpy as np
import pytest

from libs.ocrkit import fonts
from libs.ocrkit.charset import BASE_ALPHABET
from libs.ocrkit.replay import replay_lines, unrendered
from libs.ocrkit.replay_text import TextSource, tells_its_case

ALPHABET = frozenset(BASE_ALPHABET)


def texts(alphabet: frozenset[str], num_lines: int) -> list[str]:
    source = TextSource(alphabet, np.random.default_rng(7))
    return [source.line(source.next_due(), alphabet) for _ in range(num_lines)]


def test_every_character_comes_up_about_equally_often() -> None:
    counts = Counter("".join(texts(ALPHABET, 400)))
    usual = float(np.median([counts[character] for character in ALPHABET]))
    assert usual > 15
    seldom_or_often = {character for character in ALPHABET if not usual / 1.5 < counts[character] < usual * 1.8}
    # Digits come with every amount, spaces between all words.
    assert seldom_or_often <= set("0123456789 ")


def test_texts_are_plain_lines_of_their_alphabet() -> None:
    for text in texts(ALPHABET, 200):
        assert text == " ".join(text.split())
        assert set(text) <= ALPHABET


def test_words_tell_their_case() -> None:
    letters = frozenset(character for character in ALPHABET if character.isalpha() and character not in "ªº")
    for word in " ".join(texts(letters | {" "}, 200)).split():
        assert any(tells_its_case(letter) for letter in word), word
        assert not (word[0] == "I" and word[1:].islower()), word
        assert word.islower() or word.isupper() or word.istitle() or "ß" in word or "µ" in word, word


@pytest.mark.parametrize("alphabet", ["~", "{}`", "ç", "é€", "0", "çøéÀÖ{₿", "АБВабв .", "日本語"])
def test_any_alphabet_makes_lines(alphabet: str) -> None:
    made = texts(frozenset(alphabet), 20)
    assert set("".join(made)) - {" "} == set(alphabet) - {" "}
    assert " " in alphabet or not any(" " in text for text in made)


def test_lines_look_like_those_of_the_reader() -> None:
    lines = replay_lines(ALPHABET, 24, seed=1, part="training")
    assert len(lines) == 24
    assert len({line.family for line in lines}) > 3
    for line in lines:
        assert line.image.dtype == np.uint8
        assert line.image.shape[0] == 48
        assert line.image.shape[2] == 3
        assert np.ptp(line.image) > 50, line.text
        # Some 20 px a character; text that was taken to run downwards would be much narrower.
        assert 5 < line.image.shape[1] / len(line.text) < 60, line.text


def test_equal_seeds_give_equal_lines() -> None:
    one, again, other = (replay_lines(ALPHABET, 6, seed=seed, part="check") for seed in (3, 3, 4))
    assert [line.text for line in one] == [line.text for line in again]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, again, strict=True))
    assert [line.text for line in one] != [line.text for line in other]


def test_training_and_check_share_no_family() -> None:
    training, check = ({face.family for face in fonts.faces_of(part)} for part in ("training", "check"))
    assert training
    assert check
    assert not training & check


def test_a_single_family_serves_both_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    only = tuple(face for face in fonts.installed_faces() if face.family == "Roboto")
    monkeypatch.setattr(fonts, "installed_faces", lambda: only)
    assert fonts.faces_of.__wrapped__("training") == fonts.faces_of.__wrapped__("check") == only


def test_the_fonts_of_the_packages_show_what_the_base_can_write() -> None:
    assert unrendered(ALPHABET - {"฿"}, part="training") == unrendered(ALPHABET - {"฿"}, part="check") == frozenset()


def test_what_cannot_be_set_is_named() -> None:
    characters = frozenset("aé\u0301\ue000ب")
    assert unrendered(characters, part="training") == frozenset("\u0301\ue000ب")
    assert replay_lines(frozenset("ب"), 3, seed=0, part="training") == []
    assert set("".join(line.text for line in replay_lines(characters, 3, seed=0, part="training"))) == set("aé")
