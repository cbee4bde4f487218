"""Thumbnails and tiles on disk: one file a thumbnail and two a pyramid, by dataset, image and tag of the stored image."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.dataset.pictures.pack import PackDamaged, read_piece

_KEPT_OF_LIMIT: Final = 0.9
_RECOUNT_OF_LIMIT: Final = 0.02


@dataclass(frozen=True)
class CacheSize:
    """What a dataset's pictures take up."""

    num_images: int
    size_bytes: int
    total_size_bytes: int
    max_size_bytes: int


class PictureCache:
    """The folder. Calls block for a few milliseconds, ``make_room`` for longer: keep them off the loop.

    Processes may share it: nothing is known but what lies in the folder, and a file that is gone is one to be made again.

    Args:
        folder: made when it is needed.
        max_bytes: of all pictures together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._written: int | None = None

    def path(self, dataset_uid: str, image_id: str, store_etag: str, kind: str) -> Path:
        """Where the pictures of one kind of an image with this tag lie."""
        return self.folder / dataset_uid / image_id / f"{hashlib.sha256(store_etag.encode()).hexdigest()[:24]}-{kind}.pack"

    def read(self, path: Path, piece: str) -> bytes | None:
        """A picture, marked as used now; None when it has to be made. A damaged file is removed."""
        try:
            data = read_piece(path, piece)
            if data is not None:
                os.utime(path)
        except FileNotFoundError:
            return None
        except PackDamaged:
            data = None
        if data is None:
            path.unlink(missing_ok=True)
        return data

    def added(self, path: Path) -> None:
        """A file was written: make room where the limit is passed by it.

        Raises:
            FileNotFoundError: somebody has removed it already.
        """
        if self._written is not None:
            self._written += path.stat().st_size
        # Counting walks over every file, so it waits until a fiftieth of the limit was written.
        if self._written is None or self._written > self._max_bytes * _RECOUNT_OF_LIMIT:
            self._written = 0
            self._make_room()

    def forget(self, dataset_uid: str, image_id: str = "") -> None:
        """Remove what was made of a dataset, or of one of its images."""
        shutil.rmtree(self.folder / dataset_uid / image_id if image_id else self.folder / dataset_uid, ignore_errors=True)

    def size(self, dataset_uid: str) -> CacheSize:
        """What lies there now."""
        own = [(path, size) for path, size, _ in self._files() if path.parent.parent.name == dataset_uid]
        total = sum(size for _, size, _ in self._files())
        return CacheSize(len({path.parent for path, _ in own}), sum(size for _, size in own), total, self._max_bytes)

    def _make_room(self) -> None:
        files = sorted(self._files(), key=lambda file: file[2])
        total = sum(size for _, size, _ in files)
        if total <= self._max_bytes:
            return
        for path, size, _ in files:
            path.unlink(missing_ok=True)
            total -= size
            if total <= self._max_bytes * _KEPT_OF_LIMIT:
                return

    def _files(self) -> Iterator[tuple[Path, int, int]]:
        """Path, bytes and time of the last use of every file."""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = Path(folder, name)
                try:
                    found = path.stat()
                except FileNotFoundError:
                    continue
                if name.endswith(".pack"):
                    yield path, found.st_size, found.st_mtime_ns
