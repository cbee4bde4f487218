"""What a bucket holds: in memory, or the files of a folder."""

import hashlib
import os
from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import crcmod

crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, rev=True, xorOut=2**64 - 1)
"""Of ``x-oss-hash-crc64ecma`` (CRC-64/XZ)."""


@dataclass(frozen=True)
class Stored:
    """An object. ``headers`` are those it was stored with and comes back with."""

    data: bytes
    etag: str
    modified_time: datetime
    kind: str = "Normal"
    headers: dict[str, str] = field(default_factory=dict)


def stored(data: bytes, headers: dict[str, str] | None = None, *, at: datetime | None = None) -> Stored:
    """An object that was put in one piece."""
    etag = hashlib.md5(data, usedforsecurity=False).hexdigest().upper()
    return Stored(data, etag, at or datetime.now(UTC), headers=headers or {})


class Objects(Protocol):
    """The objects of a bucket by name."""

    def names_after(self, start: str) -> Iterator[str]:
        """Sorted names behind ``start``."""
        ...

    def get(self, name: str) -> Stored | None:
        """The object, if there is one."""
        ...

    def put(self, name: str, found: Stored) -> None:
        """Store it, in place of an older one."""
        ...

    def remove(self, name: str) -> None:
        """Nothing happens where there is none."""
        ...


class MemoryObjects:
    """``Objects`` in memory, with any name."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._objects: dict[str, Stored] = {}

    def names_after(self, start: str) -> Iterator[str]:
        """See ``Objects``. Code points sort as their UTF-8 does."""
        return iter(self._names[bisect_right(self._names, start) :])

    def get(self, name: str) -> Stored | None:
        """See ``Objects``."""
        return self._objects.get(name)

    def put(self, name: str, found: Stored) -> None:
        """See ``Objects``."""
        if name not in self._objects:
            insort(self._names, name)
        self._objects[name] = found

    def remove(self, name: str) -> None:
        """See ``Objects``."""
        if self._objects.pop(name, None) is not None:
            self._names.remove(name)


class FolderObjects:
    """``Objects`` that are the files of a folder, so that a test lays them there and takes them away as files.

    Hidden files are objects as well. Of an object only the content is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, int, int], Stored]] = {}

    def names_after(self, start: str) -> Iterator[str]:
        """See ``Objects``."""
        found = (Path(folder, file).relative_to(self._folder).as_posix() for folder, _, files in os.walk(self._folder) for file in files)
        return iter(sorted(name for name in found if name > start))

    def get(self, name: str) -> Stored | None:
        """See ``Objects``."""
        path = self._folder / name
        try:
            status = path.stat()
            seen_as = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._known.get(name)
            if known is None or known[0] != seen_as:
                known = seen_as, stored(path.read_bytes(), at=datetime.fromtimestamp(status.st_mtime, UTC))
                self._known[name] = known
        except OSError:
            return None
        return known[1]

    def put(self, name: str, found: Stored) -> None:
        """See ``Objects``."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.data)

    def remove(self, name: str) -> None:
        """See ``Objects``."""
        (self._folder / name).unlink(missing_ok=True)
