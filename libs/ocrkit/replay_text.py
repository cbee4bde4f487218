"""Word-like texts in which every character comes up about equally often."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["TextSource", "is_settable", "tells_its_case"]

_VOWELS = frozenset("aeiouy")
_TWINS = frozenset("cosuvwxzвгджзиклмнопстхцчшщъыьэюя")
_SUFFIXES = frozenset(".,;:!?%")
_PREFIXES = frozenset("#@$~")
_QUOTES = frozenset("'\"`")
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}
_OPENING = {close: opening for opening, close in _CLOSING.items()}
_NUMBER_SIGNS = (".", ",", "/", "-", ":")
_LENGTH = (5, 26)
_LENGTH_WITHOUT_SPACES = (3, 10)
_TITLE = 0.4
_HASTE = 2.0
"""How many uses a character may be ahead of the rarest one and still be drawn; without it, words would come round in cycles."""


def is_settable(character: str) -> bool:
    """Whether a character can be set glyph by glyph from left to right: not what joins, combines or controls."""
    if character == " ":
        return True
    return unicodedata.category(character)[0] in "LNPS" and unicodedata.bidirectional(character) not in {"R", "AL", "AN"}


def tells_its_case(letter: str) -> bool:
    """Whether the shape alone says if a letter is a capital: ``a`` does, ``o`` and ``ç`` do not."""
    return letter.isalpha() and letter.lower() != letter.upper() and _plain(letter) not in _TWINS


def _plain(letter: str) -> str:
    return "o" if letter in "øØ" else unicodedata.normalize("NFD", letter)[0].lower()


@dataclass(frozen=True)
class _Pool:
    """An alphabet by what is done with its characters."""

    lower: Sequence[str]
    upper: Sequence[str]
    uncased: Sequence[str]
    digits: Sequence[str]
    currency: Sequence[str]
    signs: Sequence[str]

    @property
    def alphanumeric(self) -> Sequence[str]:
        return [*self.lower, *self.upper, *self.uncased, *self.digits]

    @property
    def all(self) -> Sequence[str]:
        return [*self.alphanumeric, *self.currency, *self.signs]


def _pool(characters: Collection[str]) -> _Pool:
    kinds: dict[str, list[str]] = {name: [] for name in _Pool.__dataclass_fields__}
    for character in sorted(characters):
        category = unicodedata.category(character)
        match category:
            case "Ll" | "Lu":
                kind = "lower" if category == "Ll" else "upper"
            case "Lo" | "Lm" | "Lt" if character not in "ªº":
                kind = "uncased"
            case "Nd":
                kind = "digits"
            case "Sc" if character != "$":
                kind = "currency"
            case _:
                kind = "signs"
        kinds[kind].append(character)
    return _Pool(**kinds)


class TextSource:
    """Lines of text over an alphabet: words, numbers, amounts, words in brackets or with a sign before, within or after them.

    What a person could not tell apart is kept apart: a word is of one case and holds a letter that tells which, where the alphabet
    has one; a capital I never stands before small letters, and letters never stand among digits.

    Args:
        characters: the alphabet; without the space, a line is short and has none.
        rng: all chance comes from it.
    """

    def __init__(self, characters: Collection[str], rng: np.random.Generator) -> None:
        self._characters = sorted(set(characters) - {" "})
        self._index = {character: index for index, character in enumerate(self._characters)}
        self._counts = np.zeros(len(self._characters))
        self._has_space = " " in characters
        self._pools: dict[frozenset[str], _Pool] = {}
        self._rng = rng

    def next_due(self) -> str:
        """The character to begin a line with, one of those used least so far."""
        return self._due(self._characters)

    def line(self, first: str, available: frozenset[str]) -> str:
        """A line that holds ``first``, as ``next_due`` gave it, and otherwise characters that are ``available``."""
        pool = self._pools.setdefault(available, _pool(available.intersection(self._characters)))
        wanted = int(self._rng.integers(*(_LENGTH if self._has_space else _LENGTH_WITHOUT_SPACES)))
        words = [self._word(first, pool)]
        while sum(map(len, words)) + len(words) * self._has_space < wanted:
            words.append(self._word(self._due(pool.all), pool))
        self._rng.shuffle(words)
        return (" " if self._has_space else "").join(words)

    def _due(self, characters: Sequence[str]) -> str:
        """One of the characters that were used least so far; it is counted."""
        indices = np.array([self._index[character] for character in characters])
        chosen = int(indices[(self._counts[indices] + self._rng.random(len(indices)) * _HASTE).argmin()])
        self._counts[chosen] += 1
        return self._characters[chosen]

    def _word(self, seed: str, pool: _Pool) -> str:
        if seed in pool.currency:
            return self._amount(seed, pool)
        if seed in pool.signs:
            return self._with_sign(seed, pool)
        return self._plain_word(seed, pool, 8)

    def _plain_word(self, seed: str, pool: _Pool, most: int) -> str:
        """A word of letters or a number with ``seed`` in it."""
        if seed in pool.digits:
            return self._number(seed, pool)
        if seed in pool.uncased:
            return self._letters(seed, pool.uncased, 4)
        titled = self._rng.random() < _TITLE
        if seed in pool.upper:
            if titled and seed != "I" and pool.lower:
                return seed + self._letters(self._due(pool.lower), pool.lower, most - 1)
            return self._letters(seed, pool.upper, most)
        word = self._letters(seed, pool.lower, most)
        initials = [letter for letter in pool.upper if letter != "I"]
        return self._due(initials) + word if titled and initials else word

    def _letters(self, seed: str, letters: Sequence[str], most: int) -> str:
        """Vowels and consonants in turn, as far as there are both; one at least that tells its case."""
        word = [seed]
        vowels = [letter for letter in letters if _plain(letter) in _VOWELS]
        consonants = [letter for letter in letters if _plain(letter) not in _VOWELS]
        for _ in range(int(self._rng.integers(1, max(2, most)))):
            at_end = self._rng.random() < 0.5
            wants_vowel = _plain(word[-1] if at_end else word[0]) not in _VOWELS
            letter = self._due((vowels if wants_vowel else consonants) or letters)
            word.insert(len(word) if at_end else 0, letter)
        telling = [letter for letter in letters if tells_its_case(letter)]
        if telling and not any(tells_its_case(letter) for letter in word):
            word.append(self._due(telling))
        return "".join(word)

    def _number(self, seed: str, pool: _Pool) -> str:
        digits = [seed, *(self._due(pool.digits) for _ in range(int(self._rng.integers(0, 5))))]
        self._rng.shuffle(digits)
        signs = [sign for sign in _NUMBER_SIGNS if sign in pool.signs]
        if len(digits) < 3 or not signs or self._rng.random() < 0.5:
            return "".join(digits)
        sign, size = self._due(signs), int(self._rng.integers(1, 3))
        return "".join(digits[:-size]) + sign + "".join(digits[-size:])

    def _amount(self, sign: str, pool: _Pool) -> str:
        if pool.digits:
            core = self._number(self._due(pool.digits), pool)
        elif pool.alphanumeric:
            core = self._plain_word(self._due(pool.alphanumeric), pool, 4)
        else:
            return self._only_signs(sign, pool)
        gap = " " if self._has_space and self._rng.random() < 0.3 else ""
        return sign + gap + core if self._rng.random() < 0.6 else core + gap + sign

    def _with_sign(self, sign: str, pool: _Pool) -> str:
        if not pool.alphanumeric:
            return self._only_signs(sign, pool)
        core = self._plain_word(self._due(pool.alphanumeric), pool, 5)
        if sign in _CLOSING:
            return sign + core + self._if_known(_CLOSING[sign], pool)
        if sign in _OPENING:
            return self._if_known(_OPENING[sign], pool) + core + sign
        if sign in _QUOTES:
            return self._if_known(sign, pool) + core + sign
        if sign in _PREFIXES:
            return sign + core
        if sign in _SUFFIXES or self._rng.random() < 0.2:
            return core + sign
        gap = " " if self._has_space and self._rng.random() < 0.4 else ""
        return gap.join((core, sign, self._plain_word(self._due(pool.alphanumeric), pool, 5)))

    def _if_known(self, sign: str, pool: _Pool) -> str:
        if sign not in pool.signs:
            return ""
        self._counts[self._index[sign]] += 1
        return sign

    def _only_signs(self, sign: str, pool: _Pool) -> str:
        """Signs side by side, none twice in a row: two of a kind can look like a third."""
        signs = [sign]
        for _ in range(int(self._rng.integers(1, 4))):
            if others := [other for other in pool.all if other != signs[-1] and not (other in _QUOTES and signs[-1] in _QUOTES)]:
                signs.append(self._due(others))
        return "".join(signs)
