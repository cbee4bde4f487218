"""ZIP files from anywhere: names in any encoding, and everything hostile a ZIP can hold."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

from services.dataset.pairing import is_image, stem_of
from services.dataset.uploads.names import UnsafeName, encoding_of, is_of_system, safe_key
from services.dataset.uploads.source import Entry, Refused

MAX_MEMBERS: Final = 200_000
MAX_DIRECTORY_BYTES: Final = 64 * 1024 * 1024
MAX_RATIO: Final = 500
"""Scans without compression shrink to a fiftieth; bombs are at the format's limit, a thousandth."""
RATIO_FROM_BYTES: Final = 100 * 1024 * 1024
"""Less is harmless however small it was packed."""

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2})
"""LZMA would take as much memory as the file asks for."""
_UTF8 = 0x800
_ENCRYPTED = 0x1
_END, _LOCATOR, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_MAX_COMMENT = 65_535
_PIECE_BYTES = 1024 * 1024


class ZipFolder:
    """An open ZIP. Building it blocks, and raises ``Refused`` where the whole cannot be used.

    Args:
        path: of the file.
        folder: where its files go, without a slash at the end.
        max_unpacked_bytes: of all files together.
    """

    def __init__(self, path: Path, folder: str, *, max_unpacked_bytes: int) -> None:
        _check_directory(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError) as error:
            raise _damaged(error) from error
        self._folder = folder
        try:
            files = [info for info in self._zip.infolist() if not info.is_dir()]
            self._check_size(files, path.stat().st_size, max_unpacked_bytes)
            entries = [self._entry(info, name) for info, name in zip(files, _names(files), strict=True)]
        except BaseException:
            self._zip.close()
            raise
        # The image first: its label file follows it when it gets another name. The place in the ZIP decides between equal names.
        entries.sort(key=lambda entry: (stem_of(entry.key), not is_image(entry.key)))
        self._groups = [list(group) for _, group in groupby(entries, key=lambda entry: stem_of(entry.key))]

    @property
    def num_groups(self) -> int:
        """See ``Source``."""
        return len(self._groups)

    def group(self, number: int) -> Sequence[Entry]:
        """See ``Source``."""
        return self._groups[number]

    def close(self) -> None:
        """See ``Source``."""
        self._zip.close()

    def _check_size(self, files: Sequence[zipfile.ZipInfo], packed_bytes: int, max_unpacked_bytes: int) -> None:
        unpacked = sum(info.file_size for info in files)
        if unpacked > max_unpacked_bytes:
            raise Refused("TOO_LARGE", f"Unpacked the ZIP has {unpacked} bytes, more than the {max_unpacked_bytes} allowed; split it.")
        if unpacked > RATIO_FROM_BYTES and unpacked > MAX_RATIO * packed_bytes:
            message = f"The ZIP would grow from {packed_bytes} to {unpacked} bytes, more than {MAX_RATIO} times; it holds no photographs."
            raise Refused("ZIP_BOMB", message)

    def _entry(self, info: zipfile.ZipInfo, name: str) -> Entry:
        key = f"{self._folder}/{name}" if self._folder else name
        return Entry(name, key, info.file_size, partial(self._read, info), partial(self._copy, info), _refusal(info, name, key))

    def _read(self, info: zipfile.ZipInfo) -> bytes:
        try:
            with self._zip.open(info) as member:
                return member.read()
        except _BAD_MEMBER as error:
            raise _bad_member(error) from error

    def _copy(self, info: zipfile.ZipInfo, path: Path) -> Path:
        try:
            with self._zip.open(info) as member, path.open("wb") as copy:
                while piece := member.read(_PIECE_BYTES):
                    copy.write(piece)
        except _BAD_MEMBER as error:
            raise _bad_member(error) from error
        return path


_BAD_MEMBER = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError, struct.error)


def _bad_member(error: Exception) -> Refused:
    if isinstance(error, NotImplementedError):
        return _unknown_method(error)
    return Refused("ZIP_DAMAGED", f"It cannot be unpacked ({error}); pack it again.")


def _unknown_method(what: object) -> Refused:
    return Refused("ZIP_METHOD", f"It is packed in a way that is not read ({what}); pack it with Deflate, or not at all.")


def _refusal(info: zipfile.ZipInfo, name: str, key: str) -> Refused | None:
    if is_of_system(name):
        return Refused("SYSTEM_FILE", "A file of the operating system, not of yours.", is_skipped=True)
    if info.flag_bits & _ENCRYPTED:
        return Refused("ENCRYPTED", "It is encrypted; pack it without a password.")
    if info.compress_type not in _METHODS:
        return _unknown_method(f"method {info.compress_type}")
    if info.header_offset < 0:
        return Refused("ZIP_DAMAGED", "It lies outside the ZIP; pack it again.")
    if stat.S_ISLNK(info.external_attr >> 16):
        return Refused("SYMLINK", "It is a link to another file; pack the file itself.")
    try:
        safe_key(name)
        safe_key(key)
    except UnsafeName as unsafe:
        return Refused("UNSAFE_NAME", f"The name cannot be stored: {unsafe}. Rename it, then pack it again.")
    return None


def _names(files: Sequence[zipfile.ZipInfo]) -> list[str]:
    # Without the flag zipfile has read them as CP437, which gives every byte a character, so that the bytes can be had again.
    raw = {index: info.orig_filename.encode("cp437") for index, info in enumerate(files) if not info.flag_bits & _UTF8}
    encoding = encoding_of([name for name in raw.values() if not name.isascii()])
    return [raw[index].decode(encoding) if index in raw else info.orig_filename for index, info in enumerate(files)]


def _check_directory(path: Path) -> None:
    """Whether the directory may be read into memory, which ``zipfile`` does without asking."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _MAX_COMMENT - 22 - 20 - 56))
        tail = file.read()
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < 22:
            raise _damaged("its end is missing")
        directory_bytes = int.from_bytes(tail[at + 12 : at + 16], "little")
        begin = size - len(tail) + at
        if tail[max(0, at - 20) : at].startswith(_LOCATOR) and tail[max(0, at - 76) : at].startswith(_END64):
            directory_bytes = int.from_bytes(tail[at - 76 + 40 : at - 76 + 48], "little")
            begin -= 76
        if directory_bytes > begin:
            raise _damaged("its directory is missing")
        if directory_bytes > MAX_DIRECTORY_BYTES:
            raise _too_many()
        file.seek(begin - directory_bytes)
        if file.read(directory_bytes).count(b"PK\x01\x02") > MAX_MEMBERS:
            raise _too_many()


def _damaged(why: object) -> Refused:
    return Refused("ZIP_DAMAGED", f"The file is no whole ZIP ({why}); pack it again, then send it again.")


def _too_many() -> Refused:
    return Refused("TOO_LARGE", f"The ZIP holds more than {MAX_MEMBERS} files; split it.")
