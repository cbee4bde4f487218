"""Compiled graphs kept on disk between processes: compiling takes about a second a graph, taking up a kept one a quarter of that."""

import hashlib
import logging
import os
from pathlib import Path

__all__ = ["KeptGraphs"]

log = logging.getLogger(__name__)

_MAX_BYTES = 256 * 1024 * 1024
"""A bundle takes 8 MB."""

_DIGEST_BYTES = hashlib.sha256().digest_size


class KeptGraphs:
    """A folder of compiled graphs; several processes may use it at once, and those not used for longest make room for new ones.

    It is a convenience: where the folder cannot be read or written, nothing is kept, and a damaged file counts as none.

    Args:
        folder: made when something is kept; None for ``inkwright/compiled`` in the user's folder for caches.
        max_bytes: of all files together.

    Source: the XDG Base Directory Specification names that folder.
    """

    def __init__(self, folder: Path | None = None, *, max_bytes: int = _MAX_BYTES) -> None:
        self._folder = folder or _own_folder()
        self._max_bytes = max_bytes

    def find(self, key: str) -> bytes | None:
        """What is kept under a key."""
        if self._folder is None:
            return None
        path = self._folder / key
        try:
            data = path.read_bytes()
            # The youngest are kept.
            os.utime(path)
        except OSError:
            return None
        digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            log.warning("compiled_graph_damaged", extra={"path": str(path)})
            return None
        return content

    def keep(self, key: str, content: bytes) -> None:
        """Keep something under a key, which is also the name of a file; what was there is replaced."""
        if self._folder is None:
            return
        part = self._folder / f".{key}.{os.getpid()}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.write_bytes(hashlib.sha256(content).digest() + content)
            # Complete or not there at all, for every process that looks.
            part.replace(self._folder / key)
            self._make_room(self._folder)
        except OSError as error:
            log.info("compiled_graph_not_kept", extra={"folder": str(self._folder), "cause": str(error)})

    def _make_room(self, folder: Path) -> None:
        """Remove the oldest, parts of files that a killed process left among them."""
        total = 0
        with os.scandir(folder) as entries:
            files = sorted(((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in entries), reverse=True)
        for _, size, path in files:
            total += size
            if total > self._max_bytes:
                Path(path).unlink(missing_ok=True)


def _own_folder() -> Path | None:
    """The user's; None for a user without a home, as in some containers."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():
        caches = Path(os.path.expanduser("~/.cache"))
    return caches / "inkwright" / "compiled" if caches.is_absolute() else None
