"""Large JSON files in pieces: one annotation, one task at a time, never the whole tree."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import orjson

from libs.ocrkit.labels.page import LabelUnreadable

MAX_PIECE_CHARS = 16 * 1024 * 1024
_CHUNK_CHARS = 256 * 1024
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_OUTSIDE = re.compile(r'["\[\]{}]')
_INSIDE = re.compile(r'["\\]')
_SCALAR_END = re.compile(r"[,\]}\s]")


@dataclass(frozen=True)
class JsonPiece:
    """A value of a larger file.

    Args:
        keys: of the objects it stands in; None for a place in an array.
        raw: the value as it is written.
        line: where it begins, from 1.
    """

    keys: tuple[str | None, ...]
    raw: str
    line: int

    def value(self) -> object:
        """The value, NaN and infinity included; None where it is no JSON."""
        return parse_json(self.raw)


def parse_json(raw: str) -> object:
    """A small JSON text; None where it is none. What others write that is none (NaN, control characters in texts) is read as well."""
    try:
        parsed: object = orjson.loads(raw)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        try:
            parsed = json.loads(raw, strict=False)
        except (ValueError, RecursionError):
            return None
    return parsed


def json_pieces(text: TextIO, *, depth: int) -> Iterator[JsonPiece]:
    """Cut a file into the values at a depth.

    Args:
        text: the file.
        depth: 1 for the members of the outermost value, 2 for the members of these; what is no array or object ends above it.

    Raises:
        LabelUnreadable: it is no JSON from some line on, or one value is too large; what stood before has been given.
    """
    scanner = _Scanner(text)
    if scanner.peek() not in ("[", "{"):
        raise scanner.unreadable("a JSON file begins with [ or {")
    yield from _members(scanner, (), depth)
    if scanner.peek():
        raise scanner.unreadable("something follows the end of the JSON")


def _members(scanner: "_Scanner", keys: tuple[str | None, ...], depth: int) -> Iterator[JsonPiece]:
    closing = {"[": "]", "{": "}"}[scanner.take()]
    if scanner.peek() == closing:
        scanner.take()
        return
    while True:
        key: str | None = None
        if closing == "}":
            if scanner.peek() != '"':
                raise scanner.unreadable("a name in quotes is missing")
            key = str(parse_json(scanner.value()) or "")
            if scanner.peek() != ":":
                raise scanner.unreadable("a colon is missing")
            scanner.take()
        if depth > 1 and scanner.peek() in ("[", "{"):
            yield from _members(scanner, (*keys, key), depth - 1)
        else:
            scanner.peek()
            line = scanner.line
            yield JsonPiece((*keys, key), scanner.value(), line)
        following = scanner.peek()
        if following not in (",", closing):
            raise scanner.unreadable("a comma is missing" if following else "it ends in the middle")
        scanner.take()
        if following == closing:
            return


class _Scanner:
    def __init__(self, text: TextIO) -> None:
        self.line = 1
        self._text = text
        self._buffer = ""
        self._at = 0

    def unreadable(self, why: str) -> LabelUnreadable:
        return LabelUnreadable(f"Line {self.line}: this is no well-formed JSON ({why}); repair the file.", line=self.line)

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            found = _SPACE.match(self._buffer, self._at)
            self._pass(found.end() if found else self._at)
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._fill():
                return ""

    def take(self) -> str:
        self._at += 1
        return self._buffer[self._at - 1]

    def value(self) -> str:
        """The next value as it is written."""
        first = self.peek()
        start, position, depth, inside = self._at, self._at, 0, False
        scalar = first not in ('"', "[", "{")
        while True:
            found = (_SCALAR_END if scalar else _INSIDE if inside else _OUTSIDE).search(self._buffer, position)
            if found is None:
                position = max(position, len(self._buffer))
                if len(self._buffer) - start > MAX_PIECE_CHARS:
                    raise self.unreadable(f"one value is longer than {MAX_PIECE_CHARS} characters")
                before = self._at
                if not self._fill():
                    if scalar and position > start:
                        return self._pass(position)
                    raise self.unreadable("it ends in the middle")
                start, position = start - (before - self._at), position - (before - self._at)
                continue
            position = found.end()
            mark = found.group()
            if scalar:
                if found.start() == start:
                    raise self.unreadable("a value is missing")
                return self._pass(found.start())
            if inside:
                if mark == "\\":
                    position += 1
                    continue
                inside = False
            elif mark == '"':
                inside = True
            else:
                depth += 1 if mark in "[{" else -1
            if not inside and depth <= 0:
                return self._pass(position)

    def _pass(self, end: int) -> str:
        passed = self._buffer[self._at : end]
        self.line += passed.count("\n")
        self._at = end
        return passed

    def _fill(self) -> bool:
        chunk = self._text.read(_CHUNK_CHARS)
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return bool(chunk)
