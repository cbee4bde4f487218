"""The files that labels are read from: a folder, or whatever else can list and open names."""

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})

_CONTROLS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_MAX_NAME = 1_000


class Source(Protocol):
    """Files by name; names are relative, their parts separated by ``/``."""

    @property
    def title(self) -> str:
        """What the folder itself is called; empty where it has no name."""
        ...

    def names(self) -> Iterator[str]:
        """Every file, folder by folder, those of one folder in order of their names."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file to be read from its beginning.

        Raises:
            OSError: it is not there, or may not be read.
        """
        ...


class FolderSource:
    """A folder on this machine. Nothing outside it is opened, whatever links lie in it.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.title = root.resolve().name
        self._real_root = os.path.join(os.path.realpath(root), "")

    def names(self) -> Iterator[str]:
        """Every file below the folder; folders that are links are not entered, links that leave the folder are passed over."""
        for folder, folders, files in os.walk(self.root):
            folders.sort()
            below = os.path.relpath(folder, self.root).replace(os.sep, "/")
            for name in sorted(files):
                if not os.path.islink(os.path.join(folder, name)) or self._is_inside(os.path.join(folder, name)):
                    yield name if below == "." else f"{below}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is such a file in the folder."""
        if is_safe_name(name):
            path = self.root / name
            return path.is_file() and self._is_inside(path)
        return False

    def open(self, name: str) -> BinaryIO:
        """Open a file.

        Raises:
            OSError: it is not there, lies outside the folder, or may not be read.
        """
        if not self.exists(name):
            raise FileNotFoundError(2, "no such file in the folder", name)
        return (self.root / name).open("rb")

    def _is_inside(self, path: str | Path) -> bool:
        return os.path.realpath(path).startswith(self._real_root)


def is_safe_name(name: str) -> bool:
    """Whether a name stays within its folder and fits on a line: relative, no ``..``, no control characters."""
    if not name or len(name) > _MAX_NAME or _CONTROLS.search(name):
        return False
    parts = name.split("/")
    return all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)


def clean_name(said: str) -> str | None:
    """A name as a label file says it (``./a//b.jpg``), in the form that ``Source`` uses; None where it leaves the folder or is no name."""
    parts = [part for part in said.strip().split("/") if part not in ("", ".")]
    name = "/".join(parts)
    return name if is_safe_name(name) else None


def shown_name(name: str) -> str:
    """A name for a report: bounded, and without characters that would break a line."""
    return unicodedata.normalize("NFC", _CONTROLS.sub("\ufffd", name))[:200]


def folder_of(name: str) -> str:
    """The folder of a file, empty for the topmost."""
    return name.rpartition("/")[0]


def base_of(name: str) -> str:
    """The file's own name."""
    return name.rpartition("/")[2]


def split_suffix(name: str) -> tuple[str, str]:
    """The name without its extension, and the extension in lower case with its point; a leading point begins none."""
    folder, slash, base = name.rpartition("/")
    stem, point, suffix = base.rpartition(".")
    return (folder + slash + stem, (point + suffix).lower()) if stem else (name, "")


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return split_suffix(name)[1] in IMAGE_SUFFIXES


def joined(folder: str, name: str) -> str:
    """A name below a folder."""
    return f"{folder}/{name}" if folder else name
