"""Text files whose encoding nobody wrote down, a line at a time."""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from libs.ocrkit.labels.page import Finding
from libs.ocrkit.labels.source import Source

MAX_LINE_CHARS = 16 * 1024 * 1024
HEAD_BYTES = 16 * 1024
_CHUNK_BYTES = 256 * 1024


@contextmanager
def open_text(source: Source, name: str) -> Iterator[tuple[TextIO, list[Finding]]]:
    """Open a text file: byte order mark, UTF-8, GB18030, Latin-1; the first in which all of it can be read wins.

    Yields:
        The text, line ends as ``\\n``, and what was found about its encoding.

    Raises:
        OSError: it cannot be opened.
    """
    encoding, findings = _encoding(source, name)
    with source.open(name) as stream, io.TextIOWrapper(stream, encoding, errors="replace") as text:
        yield text, findings


def read_head(source: Source, name: str) -> str:
    """The beginning of a text file, to tell what it is; a broken end is left out."""
    with source.open(name) as stream:
        data = stream.read(HEAD_BYTES)
    marked = _marked(data)
    if marked:
        return data.decode(marked, "ignore").lstrip("\ufeff")
    for encoding in ("utf-8", "gb18030"):
        try:
            return codecs.getincrementaldecoder(encoding)().decode(data)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def numbered_lines(text: TextIO) -> Iterator[tuple[int, str | None]]:
    """The lines of a text that say something, with their numbers from 1; None stands for one that is too long to be a label."""
    number = 0
    while line := text.readline(MAX_LINE_CHARS):
        number += 1
        if line.endswith("\n") or len(line) < MAX_LINE_CHARS:
            if line.strip():
                yield number, line.rstrip("\n")
            continue
        while line and not line.endswith("\n"):
            line = text.readline(MAX_LINE_CHARS)
        yield number, None


def _marked(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(data) >= 4 and data[:4:2] == b"\x00\x00":
        return "utf-16-be"
    return "utf-16-le" if len(data) >= 4 and data[1:4:2] == b"\x00\x00" else ""


def _encoding(source: Source, name: str) -> tuple[str, list[Finding]]:
    decoders = {encoding: codecs.getincrementaldecoder(encoding)() for encoding in ("utf-8", "gb18030")}
    with source.open(name) as stream:
        data = stream.read(_CHUNK_BYTES)
        marked = _marked(data)
        if marked:
            return marked, []
        while decoders:
            for encoding, decoder in list(decoders.items()):
                try:
                    decoder.decode(data, final=not data)
                except UnicodeDecodeError:
                    del decoders[encoding]
            if not data:
                break
            data = stream.read(_CHUNK_BYTES)
    if "utf-8" in decoders:
        return "utf-8", []
    if decoders:
        return "gb18030", [Finding("repaired", "WRONG_ENCODING", "The file is not UTF-8 but GB18030; read as GB18030.", 1)]
    message = "The file is neither UTF-8 nor GB18030; read as Latin-1, check its letters."
    return "latin-1", [Finding("warning", "WRONG_ENCODING", message, 1)]
