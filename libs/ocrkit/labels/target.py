"""The folder that labels are written into: whole at the end, or not there at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from libs.ocrkit.labels.source import is_safe_name, shown_name
from libs.runtime.errors import AlreadyExists, InvalidInput, NotFound


class Target:
    """A folder in the making.

    Args:
        root: where it is made.
        title: what the folder will be called.
    """

    def __init__(self, root: Path, title: str) -> None:
        self.title = title
        self._root = root

    def open_new(self, name: str) -> BinaryIO:
        """Open a file that is not there yet, to be written.

        Raises:
            InvalidInput: the name leaves the folder, or cannot stand in a label file.
            AlreadyExists: there is one of this name, or a folder is called so.
        """
        if not is_safe_name(name):
            raise InvalidInput(f"{shown_name(name)!r} cannot be written as a file name; rename the image.", name=shown_name(name))
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb")
        except FileExistsError as error:
            raise AlreadyExists(f"Two files would be called {name}; give each image a name of its own.", name=name) from error

    def write_new(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet; faults as of ``open_new``."""
        with self.open_new(name) as stream:
            stream.write(data)

    def exists(self, name: str) -> bool:
        """Whether something of this name was written."""
        return os.path.lexists(self._root / name)


@contextmanager
def new_folder(path: Path) -> Iterator[Target]:
    """A target that becomes ``path`` when all went well, and is removed when not.

    Raises:
        AlreadyExists: something lies there already.
        NotFound: the folder it shall lie in is not there.
    """
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise AlreadyExists(f"{path} is there already; name a folder that is not, or an empty one.", path=path)
    if not path.absolute().parent.is_dir():
        raise NotFound(f"There is no folder {path.absolute().parent} to write into; make it first.", path=path)
    made = Path(tempfile.mkdtemp(prefix=f".{path.absolute().name}-", dir=path.absolute().parent))
    try:
        yield Target(made, path.absolute().name)
        made.chmod(0o777 & ~_umask())
        made.replace(path)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
