"""Characters and their classes.

Class 0 is the CTC blank; character ``i`` of a charset has class ``i + 1``.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

_LATIN_1_LETTERS = "".join(chr(code) for code in range(0xA0, 0x100) if chr(code).isalpha())
_CURRENCY_SIGNS = "¢£¤¥€₩₹₽₺₫₱₦₪฿₴₿"

BASE_ALPHABET: tuple[str, ...] = tuple(dict.fromkeys("".join(map(chr, range(0x20, 0x7F))) + _LATIN_1_LETTERS + _CURRENCY_SIGNS))
"""What every trained reader keeps: printable ASCII with the space, the letters of Latin-1, currency signs."""

BLANK = 0

COLUMN_BREAK = "\t"
"""A recognizer that has this character says with it where one box holds two pieces of text; the reader cuts there."""


@dataclass(frozen=True)
class Charset:
    """The characters a recognizer knows, in the order of its classes.

    Args:
        characters: one code point each, none twice. The order is that of the head's rows.

    Raises:
        ValueError: an entry is no single code point, or stands there twice.
    """

    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        odd = [entry for entry in self.characters if len(entry) != 1 or entry in "\r\n" or "\ud800" <= entry <= "\udfff"]
        if odd:
            raise ValueError(f"a character must be one code point and no line break: {odd[:5]!r}")
        if len(self._class_of) != len(self.characters):
            twice = [entry for entry, count in Counter(self.characters).items() if count > 1]
            raise ValueError(f"characters stand there twice: {twice[:5]!r}")

    @cached_property
    def _class_of(self) -> dict[str, int]:
        return {character: index for index, character in enumerate(self.characters, start=1)}

    @property
    def num_classes(self) -> int:
        """Number of classes, the blank included."""
        return len(self.characters) + 1

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the characters, one a line, in UTF-8."""
        return hashlib.sha256("\n".join(self.characters).encode()).hexdigest()

    def missing(self, text: str) -> set[str]:
        """The characters of ``text`` that have no class."""
        return set(text) - self._class_of.keys()

    def encode(self, text: str) -> list[int]:
        """The class of each character.

        Raises:
            ValueError: characters are missing; it names them.
        """
        missing = self.missing(text)
        if missing:
            raise ValueError(f"not in the charset: {' '.join(sorted(missing))}")
        return [self._class_of[character] for character in text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of classes that were already collapsed; blanks say nothing."""
        return "".join(self.characters[index - 1] for index in ids if index != BLANK)


def charset_from_onnx_metadata(metadata: Mapping[str, str]) -> Charset:
    """The charset that a PP-OCR recognizer carries in its ONNX metadata.

    Args:
        metadata: ``metadata_props`` of the model; ``character`` holds one character a line. A space, which the list leaves
            out, is the last class.

    Raises:
        ValueError: there is no such entry, or it holds something other than single characters.
    """
    listed = metadata.get("character")
    if not listed:
        raise ValueError("the model carries no list of characters in its metadata (key: character)")
    # Only a line feed ends an entry: some entries are separators that str.splitlines() would eat.
    characters = tuple(entry.rstrip("\r") for entry in listed.removesuffix("\n").split("\n"))
    return Charset(characters if " " in characters else (*characters, " "))
