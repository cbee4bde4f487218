"""Code points that look like others: a person sees one character, a reader has to learn two.

What is left alone: full-width punctuation beside Chinese, Japanese or Korean text, which is how these are written; joiners between letters
of scripts that need them; Cyrillic and Greek words that are what they look like.
"""

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_LETTER_TWINS: Final = dict(
    zip(
        "АВЕЅІЈКМНОРСТУХаеіјорсухѕԁԛԝ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο",
        "ABESIJKMHOPCTYXaeijopcyxsdqw" + "ABEZHIKMNOPTYXo",
        strict=True,
    )
)
"""Cyrillic and Greek letters by the Latin letter that every font draws the same."""

_SPACES: Final = "\u00a0\u2007\u202f"
_SOFT_HYPHEN: Final = "\u00ad"
_ZERO_WIDTH: Final = "\u200b\u2060\ufeff"
_JOINERS: Final = "\u200c\u200d"
_EAST_ASIAN: Final = re.compile(r"[\u2e80-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_WIDE: Final = re.compile(r"[\u3000\uff01-\uff5e\uff61-\uffdc\uffe0-\uffee]+")
_ARABIC_FORM: Final = re.compile(r"[\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc]+")
_WORD: Final = re.compile(r"[^\W\d_]+")
_PLAIN: Final = re.compile(r"[\x20-\x7e]*")


class LookAlike(StrEnum):
    """What kind of stand-in was found."""

    DECOMPOSED = "DECOMPOSED"
    """A letter and its accent apart (NFD), where one code point (NFC) says both."""
    WIDTH = "WIDTH"
    """Full-width letters and digits, half-width kana."""
    ARABIC_FORM = "ARABIC_FORM"
    """The shape a letter has at one place of a word, instead of the letter."""
    NO_BREAK_SPACE = "NO_BREAK_SPACE"
    SOFT_HYPHEN = "SOFT_HYPHEN"
    ZERO_WIDTH = "ZERO_WIDTH"
    MIXED_SCRIPT = "MIXED_SCRIPT"
    """Cyrillic or Greek letters within a Latin word."""


@dataclass(frozen=True)
class Normalized:
    """A text in the usual code points, and what was not."""

    text: str
    kinds: tuple[LookAlike, ...]


def normalize_text(text: str) -> Normalized:
    """The same text in the code points that a reader is taught; normalising it again changes nothing."""
    if _PLAIN.fullmatch(text):
        # Nearly all lines of nearly all datasets.
        return Normalized(text, ())
    kinds: list[LookAlike] = []
    before = None
    # One change can lay the ground for another: a letter that became Latin takes up the accent behind it.
    while text != before:
        before = text
        for kind, change in _CHANGES:
            changed = change(text)
            if changed != text:
                kinds.append(kind)
                text = changed
    return Normalized(text, tuple(dict.fromkeys(kinds)))


def _without_zero_width(text: str) -> str:
    kept: list[str] = []
    for index, character in enumerate(text):
        if character in _ZERO_WIDTH:
            continue
        around = text[index - 1 : index] + text[index + 1 : index + 2]
        # Persian and Indic words are spelt with joiners, emoji are glued by them; between Latin letters they say nothing.
        if character in _JOINERS and all(ord(other) < 0x250 for other in around):
            continue
        kept.append(character)
    return "".join(kept)


def _usual_width(text: str) -> str:
    is_east_asian = _EAST_ASIAN.search(text) is not None

    def usual(match: re.Match[str]) -> str:
        wide = match.group()
        if not is_east_asian or all(character == "\u3000" for character in wide):
            return unicodedata.normalize("NFKC", wide)
        return "".join(one if _is_wide_punctuation(one) else unicodedata.normalize("NFKC", one) for one in wide)

    return unicodedata.normalize("NFC", _WIDE.sub(usual, text))


def _is_wide_punctuation(character: str) -> bool:
    return (character < "\uff61" and not character.isalnum() and character != "\u3000") or character >= "\uffe0"


def _latin_words(text: str) -> str:
    def latin(match: re.Match[str]) -> str:
        word = match.group()
        scripts = {"LATIN" if ord(one) < 0x250 else "TWIN" if one in _LETTER_TWINS else "OTHER" for one in word}
        return "".join(_LETTER_TWINS.get(one, one) for one in word) if scripts == {"LATIN", "TWIN"} else word

    return _WORD.sub(latin, text)


_CHANGES: Final = (
    (LookAlike.SOFT_HYPHEN, lambda text: text.replace(_SOFT_HYPHEN, "")),
    (LookAlike.ZERO_WIDTH, _without_zero_width),
    (LookAlike.DECOMPOSED, lambda text: unicodedata.normalize("NFC", text)),
    (LookAlike.WIDTH, _usual_width),
    (LookAlike.ARABIC_FORM, lambda text: _ARABIC_FORM.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)),
    (LookAlike.NO_BREAK_SPACE, lambda text: text.translate(dict.fromkeys(map(ord, _SPACES), " "))),
    (LookAlike.MIXED_SCRIPT, _latin_words),
)
