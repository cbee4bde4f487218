"""Features on disk: one file of rows for each batch width, and an index of what stands where."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["CachedRow", "FeatureCache"]

_INDEX = "index.tsv"


@dataclass(frozen=True, slots=True)
class CachedRow:
    """Where the features of one line stand: ``row`` of the file for ``width_px``, shape (channels, height, steps)."""

    width_px: int
    row: int
    channels: int
    height: int
    steps: int


class FeatureCache:
    """Append-only rows of float16 by key. A crash loses at most what was not yet in the index.

    Args:
        folder: of this backbone; made when missing. Deleting it (``delete``) costs time, never data.
        max_bytes: no row is added beyond it.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._rows: dict[str, CachedRow] = {}
        self._num_rows: dict[int, int] = {}
        self._size_bytes = 0
        self._files: dict[int, BinaryIO] = {}
        self._maps: dict[int, NDArray[np.float16]] = {}
        self._load_index()
        self._index = (folder / _INDEX).open("a", encoding="ascii")

    def _load_index(self) -> None:
        path = self._folder / _INDEX
        whole = b""
        if path.is_file():
            data = path.read_bytes()
            # A line cut off by a crash was never promised to anybody.
            whole = data[: data.rfind(b"\n") + 1]
            if whole != data:
                path.write_bytes(whole)
        for line in whole.decode("ascii").splitlines():
            key, *numbers = line.split("\t")
            row = CachedRow(*map(int, numbers))
            self._remember(key, row)

    def _remember(self, key: str, row: CachedRow) -> None:
        self._rows[key] = row
        self._num_rows[row.width_px] = max(self._num_rows.get(row.width_px, 0), row.row + 1)
        self._size_bytes += _row_bytes(row)

    def find(self, key: str) -> CachedRow | None:
        """Where the features of this key stand, None when they are not here."""
        return self._rows.get(key)

    def row(self, key: str) -> CachedRow:
        """Where the features of a key that was added stand.

        Raises:
            KeyError: it was not added.
        """
        return self._rows[key]

    @property
    def size_bytes(self) -> int:
        """Bytes of all rows."""
        return self._size_bytes

    def add(self, key: str, width_px: int, features_CHT: NDArray[np.float16]) -> bool:
        """Append one line's features; False when there is no room left."""
        channels, height, steps = features_CHT.shape
        row = CachedRow(width_px, self._num_rows.get(width_px, 0), channels, height, steps)
        if self._size_bytes + _row_bytes(row) > self._max_bytes:
            return False
        if width_px not in self._files:
            self._files[width_px] = self._path(width_px).open("r+b" if self._path(width_px).exists() else "w+b")
        file = self._files[width_px]
        file.seek(row.row * _row_bytes(row))
        file.write(np.ascontiguousarray(features_CHT, dtype=np.float16).tobytes())
        self._index.write(f"{key}\t{row.width_px}\t{row.row}\t{row.channels}\t{row.height}\t{row.steps}\n")
        self._remember(key, row)
        return True

    def flush(self) -> None:
        """Hand everything to the system: rows first, so that the index never promises more than there is."""
        for file in self._files.values():
            file.flush()
        self._index.flush()
        self._maps.clear()

    def read(self, rows: list[CachedRow]) -> NDArray[np.float16]:
        """Features of lines of one width: float16 (B, channels, height, steps)."""
        first = rows[0]
        if first.width_px not in self._maps:
            shape = (self._num_rows[first.width_px], first.channels, first.height, first.steps)
            self._maps[first.width_px] = np.memmap(self._path(first.width_px), dtype=np.float16, mode="r", shape=shape)
        picked: NDArray[np.float16] = self._maps[first.width_px][[row.row for row in rows]]
        return picked

    def close(self) -> None:
        """Flush and close; reading ends as well."""
        self.flush()
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._index.close()

    def delete(self) -> None:
        """Close and remove the folder."""
        self.close()
        shutil.rmtree(self._folder)

    def _path(self, width_px: int) -> Path:
        return self._folder / f"w{width_px:05d}.f16"


def _row_bytes(row: CachedRow) -> int:
    return 2 * row.channels * row.height * row.steps
