"""The file of a backup: a packed tar whose last member, the manifest, names size and SHA-256 of every other.

The first member says which format this is, so that a newer one is refused before anything else is read.
"""

import gzip
import hashlib
import io
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

FORMAT: Final = 1
FORMAT_MEMBER: Final = "format"
MANIFEST_MEMBER: Final = "manifest.json"

_PIECE_BYTES = 1024 * 1024
_MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
"""No part begins with a dot, so that none leads upwards."""
_DAMAGE: Final = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError)


class BackupError(Exception):
    """Why a backup was not made or not restored, in one line for the operator."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Part):
    """One file."""

    size_bytes: int
    sha256: str


class DatabaseCopy(_Part):
    """What was copied of a service's database.

    Args:
        kind: what held it; it goes back into the same.
        revision: of its schema.
        tables: columns by table, where its rows are files of their own.
        sequences: how far each sequence had counted.
    """

    kind: Literal["sqlite", "postgresql"]
    revision: str
    tables: dict[str, list[str]] = {}
    sequences: dict[str, int] = {}


class Manifest(_Part):
    """What a backup holds.

    Args:
        cut_time: the one moment that all databases are shown at.
        bus_time: before the first stream was read.
        code_version: of the program that made it.
        streams: how the server described each stream.
        problems: what could not be kept.
        members: by name.
    """

    cut_time: datetime
    bus_time: datetime
    code_version: str
    databases: dict[str, DatabaseCopy]
    streams: dict[str, dict[str, Any]]
    problems: list[str]
    members: dict[str, Member] = {}


class Writer:
    """Takes files into a backup; made by ``written``."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members: dict[str, Member] = {}

    def add(self, name: str, path: Path) -> None:
        """Take a file as ``name``.

        Raises:
            OSError: it cannot be read, or the disk is full.
        """
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            hashed = _Hashed(file)
            self._tar.addfile(_info(name, size_bytes), hashed)
        self._members[name] = Member(size_bytes=size_bytes, sha256=hashed.digest.hexdigest())

    def finish(self, manifest: Manifest) -> Manifest:
        """Write the manifest, with the members filled in, as the last member."""
        whole = manifest.model_copy(update={"members": self._members})
        _add_bytes(self._tar, MANIFEST_MEMBER, whole.model_dump_json(indent=1).encode())
        return whole


@contextmanager
def written(path: Path) -> Iterator[Writer]:
    """Write a backup, mode 0600; it appears at the end of the block, whole and read again, or not at all.

    Raises:
        BackupError: the name is taken, or what was written does not read back.
        OSError: no room, no right.
    """
    if path.exists():
        raise BackupError(f"{path} exists already; choose another name.")
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with (
                gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, filename="") as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                _add_bytes(tar, FORMAT_MEMBER, f"inkwright backup {FORMAT}\n".encode())
                yield Writer(tar)
            file.flush()
            os.fsync(file.fileno())
        verified(Path(temporary))
        try:
            # Unlike a rename, a link never replaces what came there meanwhile.
            os.link(temporary, path)
        except FileExistsError as error:
            raise BackupError(f"{path} exists already; choose another name.") from error
        sync_folder(path.parent)
    finally:
        Path(temporary).unlink(missing_ok=True)


def verified(path: Path) -> Manifest:
    """Read a backup from its first byte to its last and compare every digest.

    Raises:
        BackupError: it is none, of a newer format, cut off or changed.
    """
    return _read(path, None)


def extract(path: Path, into: Path) -> Manifest:
    """The same, and write every member below an empty folder (mode 0600), synced. After an error it is the caller's to remove.

    Raises:
        BackupError: as ``verified``.
        OSError: no room, no right.
    """
    return _read(path, into)


def _read(path: Path, into: Path | None) -> Manifest:
    found: dict[str, Member] = {}
    manifest: Manifest | None = None
    try:
        with path.open("rb") as file, gzip.GzipFile(fileobj=file) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            infos = iter(tar)
            _check_format(path, tar, next(infos, None))
            for info in infos:
                if manifest is not None or not info.isreg() or not _NAME.fullmatch(info.name) or info.name in found:
                    raise BackupError(f"{path} is damaged: it holds {info.name[:100]!r}, which no backup does.")
                content = tar.extractfile(info)
                assert content is not None
                if info.name == MANIFEST_MEMBER:
                    manifest = _manifest(path, content)
                elif into is None:
                    found[info.name] = _copied(content, None)
                else:
                    found[info.name] = _unpacked(content, into / info.name)
            # What the archive says ends before the packed stream does: only its end holds the checksum.
            while packed.read(_PIECE_BYTES):
                pass
    except _DAMAGE as error:
        raise BackupError(f"{path} is damaged or cut off: {error}.") from error
    if manifest is None:
        raise BackupError(f"{path} is cut off: its manifest is missing.")
    for name in sorted(found.keys() | manifest.members.keys()):
        if found.get(name) != manifest.members.get(name):
            raise BackupError(f"{path} is damaged: {name} is not what was backed up.")
    return manifest


def _check_format(path: Path, tar: tarfile.TarFile, first: tarfile.TarInfo | None) -> None:
    content = tar.extractfile(first) if first is not None and first.name == FORMAT_MEMBER and first.isreg() else None
    words = content.read(100).decode(errors="replace").split() if content is not None else []
    if len(words) != 3 or words[:2] != ["inkwright", "backup"] or not words[2].isdecimal():
        raise BackupError(f"{path} is no backup of Inkwright.")
    if int(words[2]) != FORMAT:
        raise BackupError(f"{path} has format {words[2]}, this version reads {FORMAT}; use the version of Inkwright that made it.")


def _manifest(path: Path, content: IO[bytes]) -> Manifest:
    try:
        return Manifest.model_validate_json(content.read(_MAX_MANIFEST_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        raise BackupError(f"{path} is damaged: its manifest has {first['msg'].lower()} at {first['loc']}.") from error


def _unpacked(content: IO[bytes], target: Path) -> Member:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        member = _copied(content, file)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(target.parent)
    return member


def _copied(content: IO[bytes], file: IO[bytes] | None) -> Member:
    digest, size_bytes = hashlib.sha256(), 0
    while piece := content.read(_PIECE_BYTES):
        digest.update(piece)
        size_bytes += len(piece)
        if file is not None:
            file.write(piece)
    return Member(size_bytes=size_bytes, sha256=digest.hexdigest())


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        """See ``io.RawIOBase``."""
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


def _info(name: str, size_bytes: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o600
    return info


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(_info(name, len(content)), io.BytesIO(content))


def sync_folder(folder: Path) -> None:
    """Make names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
