"""Names of uploaded files: which may be stored, and what the names inside a ZIP mean."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

MAX_KEY_BYTES: Final = 1_000
MAX_PART_BYTES: Final = 240
"""A disk names 255 bytes; what is written beside a file for a moment needs some of them."""

_DRIVE = re.compile(r"[A-Za-z]:")
_OF_SYSTEMS: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


class UnsafeName(Exception):
    """A name that must not be stored; says why in a few words."""


def safe_key(name: str) -> str:
    """Return a path below a folder as it is.

    Raises:
        UnsafeName: it leads out of the folder, is hidden, or cannot be stored everywhere.
    """
    if name.startswith("/") or _DRIVE.match(name):
        raise UnsafeName("it is an absolute path")
    if "\\" in name:
        raise UnsafeName("it holds a backslash; pack folders with '/'")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise UnsafeName("it holds a control character")
    for part in name.split("/"):
        if part in ("", ".", ".."):
            raise UnsafeName(f"it has the part {part!r}, which leads elsewhere" if part else "a part of it is empty")
        if part.startswith("."):
            raise UnsafeName("it is hidden (a part begins with a dot)")
        if len(part.encode()) > MAX_PART_BYTES:
            raise UnsafeName(f"a part of it is longer than {MAX_PART_BYTES} bytes")
    if len(name.encode()) > MAX_KEY_BYTES:
        raise UnsafeName(f"it is longer than {MAX_KEY_BYTES} bytes")
    return name


def is_of_system(name: str) -> bool:
    """Whether a file was made by an operating system for itself, not by a person."""
    parts = name.casefold().split("/")
    return any(part in _OF_SYSTEMS or part.startswith("._") or part == ".ds_store" for part in parts)


def encoding_of(names: Sequence[bytes]) -> str:
    """What names without a declared encoding were written in: UTF-8, GBK, or what the format says, CP437.

    One program packed the archive, so that all are taken together. Bytes of accented letters in CP437 (0x80 to 0xA5) may be GBK as
    well; the characters they would be are rare, so that one common character, of GB 2312, is asked for.
    """
    told = b"\n".join(names)
    if _decodes(told, "utf-8"):
        return "utf-8"
    if _decodes(told, "gbk") and any(_decodes(character.encode("gbk"), "gb2312") for character in told.decode("gbk") if character > "\xff"):
        return "gbk"
    return "cp437"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
