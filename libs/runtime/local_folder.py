"""The local folder as an object store."""

import asyncio
import errno
import os
import stat
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from itertools import islice
from pathlib import Path

from libs.runtime.allowed_roots import AllowedRoots, OutsideRoots
from libs.runtime.errors import AlreadyExists, Conflict, Fault, InvalidInput, NotFound
from libs.runtime.full_disk import full_disk
from libs.runtime.logs import get_logger
from libs.runtime.object_store import ObjectInfo, ObjectPage
from libs.runtime.parts import Parts, PartsOrFault, Wanted

log = get_logger()

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
_REMEMBERED_FOLDERS = 16
_REMEMBERED_NAMES = 20_000
"""A larger folder is read again each time: its names would take megabytes for as long as the store is open."""
_OPEN_WALKS = 4
# Two changes of a folder within one clock tick leave the same mtime; a listing is remembered only when that is long past.
_SETTLED_NS = 2_000_000_000


_Names = tuple[Sequence[str], Set[str]]
"""Names, and which of them are links."""


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
        self._remembered: dict[str, tuple[int, _Names]] = {}
        self._walks: dict[tuple[str, str], Iterator[ObjectInfo]] = {}

    async def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> ObjectPage:
        """See ``ObjectStore``. Links that lead outside are left out, with a line in the log.

        Asked for the page that follows one it gave, the walk goes on where it stood, and shows each folder as it was when it came there.
        """
        return await asyncio.to_thread(self._list, prefix, after or "", limit)

    async def head(self, key: str) -> ObjectInfo:
        """See ``ObjectStore``."""
        return await asyncio.to_thread(self._head, key)

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See ``ObjectStore``."""
        return await asyncio.to_thread(self._read, key, start, length)

    async def read_parts(self, wanted: Sequence[Wanted]) -> Sequence[PartsOrFault]:
        """See ``PartsReader``: one thread for all of them."""
        return await asyncio.to_thread(self._read_many, wanted)

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
        # Taken out while it is used: two callers that ask for the same page must not share a walk.
        walk = self._walks.pop((prefix, after), None) or self._walk("", prefix, after, frozenset())
        items = list(islice(walk, limit))
        if len(items) < limit:
            return ObjectPage(items, None)
        last = items[-1].key
        self._walks[prefix, last] = walk
        if len(self._walks) > _OPEN_WALKS:
            del self._walks[next(iter(self._walks))]
        return ObjectPage(items, last)

    def _walk(self, folder: str, prefix: str, after: str, above: frozenset[str]) -> Iterator[ObjectInfo]:
        path = f"{self.root}/{folder}"
        real = os.path.realpath(path)
        # A link back up would never end.
        if real in above:
            return
        names, links = self._names(path)
        start = bisect_left(names, _first_in(prefix, folder)) if prefix.startswith(folder) else 0
        if after.startswith(folder):
            behind = bisect_right(names, after[len(folder) :])
            first = _first_in(after, folder)
            # The folder that ``after`` lies in sorts before it and is not over.
            start = max(start, behind - (first.endswith("/") and behind > 0 and names[behind - 1] == first))
        for name in islice(names, start, None):
            key = folder + name
            if not key.startswith(prefix) and not (name.endswith("/") and prefix.startswith(key)):
                return
            if name in links and not self._leads_inside(Path(path + name)):
                continue
            if name.endswith("/"):
                yield from self._walk(key, prefix, after, above | {real})
                continue
            try:
                status = os.stat(path + name)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield _info(key, status)

    def _names(self, folder: str) -> _Names:
        """Sorted names, folders with a slash at their end: walking them in this order gives keys in order."""
        changed_ns = os.stat(folder).st_mtime_ns
        known = self._remembered.get(folder)
        if known is not None and known[0] == changed_ns:
            return known[1]
        names: list[str] = []
        links: set[str] = set()
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_usable(entry.name):
                    name = entry.name + "/" * entry.is_dir()
                    names.append(name)
                    if entry.is_symlink():
                        links.add(name)
        names.sort()
        if datetime.now(UTC).timestamp() * 1e9 - changed_ns > _SETTLED_NS and len(names) <= _REMEMBERED_NAMES:
            self._remembered[folder] = (changed_ns, (names, links))
            if len(self._remembered) > _REMEMBERED_FOLDERS:
                del self._remembered[next(iter(self._remembered))]
        return names, links

    def _leads_inside(self, path: Path) -> bool:
        if self._allowed.contains(path.resolve()):
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

    def _read_many(self, wanted: Sequence[Wanted]) -> Sequence[PartsOrFault]:
        folders: dict[str, Path] = {}
        return [self._read_parts(want, folders) for want in wanted]

    def _read_parts(self, want: Wanted, folders: dict[str, Path]) -> PartsOrFault:
        """``folders`` are those that were followed already, by the part of the key that names them."""
        try:
            with _faults(want.key), self._opened(want.key, folders) as file:
                before = os.fstat(file.fileno())
                head = file.read(want.head_bytes)
                tail = b""
                if want.tail_bytes and before.st_size > want.head_bytes:
                    tail = os.pread(file.fileno(), want.tail_bytes, max(0, before.st_size - want.tail_bytes))
                after = os.fstat(file.fileno())
        except (Fault, OSError) as error:
            return error
        if _etag(before) != _etag(after):
            return Conflict(f"{want.key} is being written by another program; try again when it has finished.", key=want.key)
        return Parts(head, tail, _etag(after))

    def _opened(self, key: str, folders: dict[str, Path]) -> FileIO:
        """The file. Its folder is followed once for all files in it, which spares a look at every part of every path."""
        above, slash, name = key.rpartition("/")
        if not name or name.startswith(".") or "\0" in key:
            return FileIO(self._path(key))
        if above not in folders:
            folders[above] = self._path(above) if slash else self.root
        try:
            return FileIO(os.open(folders[above] / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            # The file itself is a link.
            return FileIO(self._path(key))

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


def _first_in(key: str, folder: str) -> str:
    """The name in ``folder`` that leads to ``key``: the rest of the key, or its first part with the slash."""
    name, slash, _ = key[len(folder) :].partition("/")
    return name + slash


def _is_usable(name: str) -> bool:
    if name.startswith("."):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        log.warning("name_not_unicode", name=ascii(name))
        return False
    return True


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, _etag(status), datetime.fromtimestamp(status.st_mtime, UTC))


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
