"""A ZIP as the target that writers of labels know."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, cast

from libs.ocrkit.labels.source import is_safe_name, shown_name
from libs.ocrkit.labels.target import Target
from libs.runtime.errors import AlreadyExists, InvalidInput
from services.dataset.transfer.zip_writer import ZipWriter

_HELD: Final = 1024 * 1024


class ZipTarget(Target):
    """Files go into the ZIP when they are closed; several may be open."""

    def __init__(self, writer: ZipWriter, title: str) -> None:
        super().__init__(Path(), title)
        self._writer = writer
        # Of each name only a number is kept: a million names take their place.
        self._taken: set[int] = set()

    def open_new(self, name: str) -> BinaryIO:
        """Open a file that is not there yet; faults as of a folder."""
        if not is_safe_name(name):
            raise InvalidInput(f"{shown_name(name)!r} cannot be written as a file name; rename the image.", name=shown_name(name))
        if self.exists(name):
            raise AlreadyExists(f"Two files would be called {name}; give each image a name of its own.", name=name)
        self._taken.add(hash(name))
        return cast("BinaryIO", _OpenFile(lambda content: self._writer.add(name, content, is_packed=True)))

    def exists(self, name: str) -> bool:
        """Whether something of this name was written."""
        return hash(name) in self._taken

    def add_image(self, name: str, content: BinaryIO) -> None:
        """An image, as it is; faults as of ``open_new``."""
        if not is_safe_name(name) or self.exists(name):
            raise InvalidInput(f"{shown_name(name)!r} cannot be written as a file name; rename the image.", name=shown_name(name))
        self._taken.add(hash(name))
        self._writer.add(name, content, is_packed=False)


class _OpenFile(tempfile.SpooledTemporaryFile[bytes]):
    def __init__(self, done: Callable[[BinaryIO], None]) -> None:
        super().__init__(_HELD)
        self._done = done

    def close(self) -> None:
        if not self.closed:
            self.seek(0)
            self._done(cast("BinaryIO", self))
        super().close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # The library's own closes the file below, past ``close``.
        self.close()
