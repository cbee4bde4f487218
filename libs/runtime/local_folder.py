"""The local folder as an object store."""

import asyncio
import errno
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from libs.runtime.allowed_roots import AllowedRoots, OutsideRoots
from libs.runtime.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from libs.runtime.full_disk import full_disk
from libs.runtime.logs import get_logger
from libs.runtime.object_store import ObjectInfo, ObjectPage

log = get_logger()

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
_REMEMBERED_FOLDERS = 16
# Two changes of a folder within one clock tick leave the same mtime; a listing is remembered only when that is long past.
_SETTLED_NS = 2_000_000_000


class LocalFolder:
    """An ``ObjectStore`` in a folder. Hidden files and folders (a leading dot) do not exist for it.

    The etag is made of modification time (ns), size and inode: one ``stat`` a file, no content read, so a million files can be
    compared in seconds. It changes whenever a program rewrites the file in the usual ways; only a rewrite in place that keeps the
    size and also sets the old time back would pass unseen. A copied or restored file may get another etag with equal content.

    Args:
        root: an existing folder.
        allowed: links inside may lead anywhere in these; without them, only inside ``root``.
    """

    def __init__(self, root: Path, allowed: AllowedRoots | None = None) -> None:
        self.root = root.resolve()
        self._allowed = allowed or AllowedRoots([self.root])
        self._remembered: dict[Path, tuple[int, Sequence[str]]] = {}

    async def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> ObjectPage:
        """See ``ObjectStore``. Links that lead outside are left out, with a line in the log."""
        return await asyncio.to_thread(self._list, prefix, after or "", limit)

    async def head(self, key: str) -> ObjectInfo:
        """See ``ObjectStore``."""
        return await asyncio.to_thread(self._head, key)

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See ``ObjectStore``."""
        return await asyncio.to_thread(self._read, key, start, length)

    async def read_stream(self, key: str, *, chunk_bytes: int = 1024 * 1024) -> AsyncIterator[bytes]:
        """See ``ObjectStore``. Goes on reading the same file when the key is replaced meanwhile."""
        with _faults(key):
            file = await asyncio.to_thread(open, self._path(key), "rb")
        with file:
            while chunk := await asyncio.to_thread(file.read, chunk_bytes):
                yield chunk

    async def write_new(self, key: str, data: bytes) -> ObjectInfo:
        """See ``ObjectStore``. Folders on the way are made."""
        return await asyncio.to_thread(self._write_new, key, data)

    async def replace(self, key: str, data: bytes, *, if_etag: str) -> ObjectInfo:
        """See ``ObjectStore``. The file keeps its mode; where the key is a link, what it leads to is replaced."""
        return await asyncio.to_thread(self._replace, key, data, if_etag)

    async def delete(self, key: str) -> None:
        """See ``ObjectStore``."""

        def delete() -> None:
            with _faults(key):
                self._path(key).unlink()

        await asyncio.to_thread(delete)

    def _path(self, key: str) -> Path:
        """Where the key leads, links followed."""
        parts = key.split("/")
        if "\0" in key or any(part in ("", ".", "..") for part in parts):
            raise OutsideRoots(f"{key[:300]!r} is no key; give a path inside the folder, without '.' and '..' parts.", path=key[:300])
        if any(part.startswith(".") for part in parts):
            raise NotFound(f"There is no {key} in {self.root}: hidden files are left alone.", key=key)
        return self._allowed.check(self.root / key)

    def _list(self, prefix: str, after: str, limit: int) -> ObjectPage:
        found = list(islice(self._walk("", prefix, after, frozenset()), limit + 1))
        items = found[:limit]
        return ObjectPage(items, items[-1].key if len(found) > limit else None)

    def _walk(self, folder: str, prefix: str, after: str, above: frozenset[Path]) -> Iterator[ObjectInfo]:
        path = self.root / folder
        real = path.resolve()
        # A link back up would never end.
        if real in above:
            return
        for name in self._names(path):
            key = folder + name
            if name.endswith("/"):
                out = key <= after and not after.startswith(key)
                if not out and (key.startswith(prefix) or prefix.startswith(key)) and self._leads_inside(path / name):
                    yield from self._walk(key, prefix, after, above | {real})
            elif key > after and key.startswith(prefix) and self._leads_inside(path / name):
                try:
                    status = os.stat(path / name)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield _info(key, status)

    def _names(self, folder: Path) -> Sequence[str]:
        """Sorted names, folders with a slash at their end: walking them in this order gives keys in order."""
        changed_ns = os.stat(folder).st_mtime_ns
        known = self._remembered.get(folder)
        if known is not None and known[0] == changed_ns:
            return known[1]
        with os.scandir(folder) as entries:
            names = sorted(entry.name + "/" * entry.is_dir() for entry in entries if _is_usable(entry.name))
        if datetime.now(UTC).timestamp() * 1e9 - changed_ns > _SETTLED_NS:
            self._remembered[folder] = (changed_ns, names)
            if len(self._remembered) > _REMEMBERED_FOLDERS:
                del self._remembered[next(iter(self._remembered))]
        return names

    def _leads_inside(self, path: Path) -> bool:
        if not path.is_symlink() or self._allowed.contains(path.resolve()):
            return True
        log.warning("link_leads_outside", path=str(path))
        return False

    def _head(self, key: str) -> ObjectInfo:
        with _faults(key):
            status = os.stat(self._path(key))
        if not stat.S_ISREG(status.st_mode):
            raise NotFound(f"{key} is no file.", key=key)
        return _info(key, status)

    def _read(self, key: str, start: int, length: int | None) -> bytes:
        with _faults(key), open(self._path(key), "rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)

    def _write_new(self, key: str, data: bytes) -> ObjectInfo:
        path = self._path(key)
        with _faults(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise FileExistsError
            with _written_beside(path, data, mode=0o644) as temporary:
                try:
                    # A link fails where the name is taken; a rename would replace.
                    os.link(temporary, path)
                except OSError as error:
                    if error.errno not in _NO_HARD_LINKS:
                        raise
                    _write_whole(path, data)
            _sync_folder(path.parent)
        return self._head(key)

    def _replace(self, key: str, data: bytes, if_etag: str) -> ObjectInfo:
        path = self._path(key)
        with _faults(key), _written_beside(path, data, mode=stat.S_IMODE(os.stat(path).st_mode)) as temporary:
            if self._head(key).etag != if_etag:
                raise Conflict(f"{key} was changed by another program; read it again, then repeat.", key=key)
            os.replace(temporary, path)
            _sync_folder(path.parent)
        return self._head(key)


def _is_usable(name: str) -> bool:
    if name.startswith("."):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        log.warning("name_not_unicode", name=ascii(name))
        return False
    return True


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
    return ObjectInfo(key, status.st_size, etag, datetime.fromtimestamp(status.st_mtime, UTC))


@contextmanager
def _faults(key: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists(f"{key} exists already.", key=key) from error
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound(f"There is no file {key}.", key=key) from error
    except PermissionError as error:
        raise InvalidInput(f"{key} is closed to the account Inkwright runs as; change its permissions.", key=key) from error
    except OSError as error:
        if fault := full_disk(error):
            raise fault from error
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InvalidInput("A part of the key is longer than the disk can name.", key=key[:300]) from error


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that is not there yet; on a disk that fills up meanwhile none is left."""
    with open(path, "xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise


@contextmanager
def _written_beside(path: Path, data: bytes, *, mode: int) -> Iterator[str]:
    """A hidden, synced file in the same folder; removed at the end unless it was moved away."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".inkwright-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        yield temporary
    finally:
        Path(temporary).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
