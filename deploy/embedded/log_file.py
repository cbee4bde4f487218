"""A process's log on disk, never larger than a cap."""

from io import FileIO
from pathlib import Path

MAX_BYTES = 10_000_000
KEPT_FILES = 3


class LogFile:
    """Lines into ``path``; when it is full it becomes ``path.1``, that ``path.2``, and so on.

    A line that the disk does not take is lost, and the next one that it takes says how many were: a process must not stand still
    because nobody can write down what it says.

    Args:
        path: the newest file.
        max_bytes: of one file.
        kept_files: older files kept.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, kept_files: int = KEPT_FILES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept_files = kept_files
        self._num_lost = 0
        self._file = self._open()

    def write(self, line: str) -> None:
        """Append one line."""
        lost = f"({self._num_lost} lines were lost: they could not be written)\n" if self._num_lost else ""
        try:
            if self._file.closed:
                self._file = self._open()
            self._file.write(f"{lost}{line}\n".encode(errors="replace"))
            self._num_lost = 0
            if self._file.tell() >= self._max_bytes:
                self._turn_over()
        except OSError:
            self._num_lost += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _turn_over(self) -> None:
        self._file.close()
        for number in range(self._kept_files, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            if newer.exists():
                newer.replace(older)
        self._file = self._open()

    def _open(self) -> FileIO:
        # Unbuffered: what could not be written must not come up again with each later line.
        return FileIO(self._path, "ab")
