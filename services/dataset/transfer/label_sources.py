"""Where an import finds its label files: an uploaded file, an uploaded ZIP, or the dataset's own folder. Files in order of their names.

Readers of labels are plain functions and run in a thread; what they need of the store or the database is asked on the loop.
"""

import asyncio
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from libs.ocrkit.labels.source import is_safe_name
from libs.runtime.errors import Fault, InvalidInput
from libs.runtime.object_store import ObjectStore

ResultT = TypeVar("ResultT")
MAX_ZIP_FILES: Final = 200_000
MAX_ZIP_BYTES: Final = 16 * 1024**3
"""Of all files together, unpacked."""
MAX_DIRECTORY_BYTES: Final = 24 * 1024**2
"""Of the list of files at a ZIP's end, which is held in memory."""
_END: Final = b"PK\x05\x06"
_END_64: Final = b"PK\x06\x06"
_LOCATOR_64: Final = b"PK\x06\x07"
_TAIL_BYTES: Final = 66_000
_UTF8_FLAG: Final = 0x800


class Asking:
    """Calls coroutines of a loop from a thread, and waits for them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __call__(self, coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
        """What it returns, or the exception it raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class _Copies:
    """The file that was opened last, as a copy on this machine: a reader opens a file several times, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "copy"
        self._name = ""

    def open(self, name: str, fill: Callable[[BinaryIO], None]) -> BinaryIO:
        if self._name != name:
            self._name = ""
            # A reader of the file before may still have it open.
            self._path.unlink(missing_ok=True)
            with self._path.open("wb") as copy:
                fill(copy)
            self._name = name
        return self._path.open("rb")


class UploadedFile:
    """One label file under the name it had."""

    title = ""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def names(self) -> Iterator[str]:
        """Just this one."""
        yield self._name

    def exists(self, name: str) -> bool:
        """Whether it is called so."""
        return name == self._name

    def open(self, name: str) -> BinaryIO:
        """Open it.

        Raises:
            OSError: it is not called so.
        """
        if not self.exists(name):
            raise FileNotFoundError(2, "no such file in the upload", name)
        return self._path.open("rb")


class UploadedZip:
    """The files in a ZIP.

    Raises:
        InvalidInput: it is damaged, or holds too much.
    """

    title = ""

    def __init__(self, path: Path, folder: Path) -> None:
        _check_directory(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise InvalidInput(f"The ZIP cannot be opened ({error}); pack the label files anew.") from error
        entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        if len(entries) > MAX_ZIP_FILES or sum(entry.file_size for entry in entries) > MAX_ZIP_BYTES:
            raise _too_much()
        self._entries = {name: entry for entry in entries if is_safe_name(name := _name_of(entry))}
        self._copies = _Copies(folder)

    def names(self) -> Iterator[str]:
        """All whose names stay within the ZIP."""
        yield from sorted(self._entries)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._entries

    def open(self, name: str) -> BinaryIO:
        """Unpack and open a file.

        Raises:
            OSError: it is not there, locked, or damaged.
        """
        if name not in self._entries:
            raise FileNotFoundError(2, "no such file in the ZIP", name)
        return self._copies.open(name, lambda copy: self._unpack(name, copy))

    def _unpack(self, name: str, copy: BinaryIO) -> None:
        try:
            with self._zip.open(self._entries[name]) as packed:
                shutil.copyfileobj(packed, copy, 1024 * 1024)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
            raise OSError(5, f"it cannot be unpacked: {error}", name) from error


class StoredFiles:
    """Files of the dataset's folder whose keys begin with a prefix, under their keys."""

    title = ""

    def __init__(self, store: ObjectStore, prefix: str, asking: Asking, folder: Path) -> None:
        self._store, self._prefix, self._ask = store, prefix, asking
        self._copies = _Copies(folder)

    def names(self) -> Iterator[str]:
        """As the store lists them."""
        after: str | None = None
        while True:
            page = self._ask(self._store.list(self._prefix, after=after))
            yield from (file.key for file in page.items)
            after = page.next_after
            if after is None:
                return

    def exists(self, name: str) -> bool:
        """Whether the store has it."""
        try:
            self._ask(self._store.head(name))
        except Fault:
            return False
        return True

    def open(self, name: str) -> BinaryIO:
        """Fetch and open a file.

        Raises:
            OSError: the store does not give it.
        """
        try:
            return self._copies.open(name, lambda copy: self._ask(self._fetch(name, copy)))
        except Fault as fault:
            raise OSError(5, fault.message, name) from fault

    async def _fetch(self, name: str, copy: BinaryIO) -> None:
        async for chunk in self._store.read_stream(name):
            copy.write(chunk)


def is_zip(path: Path) -> bool:
    """Whether a file is a ZIP by its content."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", _END)


def staging_folder() -> "tempfile.TemporaryDirectory[str]":
    """Where an import keeps what it reads; gone when the import ends or stops."""
    return tempfile.TemporaryDirectory(prefix="inkwright-labels-")


def _check_directory(path: Path) -> None:
    """
    Raises:
        InvalidInput: opening the ZIP would take too much memory.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size_bytes - _TAIL_BYTES))
        tail = file.read()
    end = tail.rfind(_END)
    sizes = [int.from_bytes(tail[end + 12 : end + 16], "little")] if end >= 0 else []
    if _LOCATOR_64 in tail:
        end_64 = tail.rfind(_END_64)
        sizes = [int.from_bytes(tail[end_64 + 40 : end_64 + 48], "little")] if end_64 >= 0 else [MAX_DIRECTORY_BYTES + 1]
    if any(size > MAX_DIRECTORY_BYTES for size in sizes):
        raise _too_much()


def _name_of(entry: zipfile.ZipInfo) -> str:
    """Its name; ZIPs of Chinese systems have it in GB18030 and do not say so, which reads as another alphabet."""
    if entry.flag_bits & _UTF8_FLAG:
        return entry.filename
    raw = entry.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def _too_much() -> InvalidInput:
    message = f"The ZIP holds more than {MAX_ZIP_FILES:,} files or {MAX_ZIP_BYTES // 1024**3} GiB; split it, or import from the folder."
    return InvalidInput(message, max_files=MAX_ZIP_FILES)
