"""Where the bytes of uploads wait until all are there: one file an upload, beside the service's database."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from libs.runtime.errors import Conflict, NoReadyInstance, WrongState
from libs.runtime.full_disk import full_disk

KEPT_FREE_BYTES: Final = 512 * 1024 * 1024
"""The database lies on the same disk."""


class Staging:
    """Files by upload id; only the methods here touch them. Every method blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, upload_id: str) -> Path:
        """Of the bytes that have come."""
        return self._folder / upload_id

    def scratch(self, upload_id: str) -> Path:
        """A folder for what is made of them, empty at first; ``remove`` takes it away."""
        folder = self._folder / f"{upload_id}.d"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def check_room(self, size_bytes: int) -> None:
        """Whether a file may come.

        Raises:
            NoReadyInstance: the disk has less free than the file and a reserve.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if size_bytes + KEPT_FREE_BYTES > free:
            message = f"The server's disk has no room for {size_bytes} bytes ({free} are free); free some space, then try again."
            raise NoReadyInstance(message, size_bytes=size_bytes, free_bytes=free)

    @contextmanager
    def sole(self, upload_id: str, *, is_new: bool) -> Iterator[int]:
        """The only writer of an upload, in all processes that share the folder; gives the open file.

        Args:
            upload_id: whose file.
            is_new: nothing came before, so that the file may be made.

        Raises:
            Conflict: there is another writer.
            WrongState: the bytes are gone.
        """
        try:
            file = os.open(self.path(upload_id), os.O_RDWR | (os.O_CREAT if is_new else 0), 0o600)
        except FileNotFoundError as error:
            raise WrongState("The bytes that came before are not here any more; delete the upload and begin a new one.") from error
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict("Another call is sending to this upload; wait for its end, then ask how far it came.") from error
            if is_new:
                _sync(self._folder)
            yield file
        finally:
            os.close(file)

    def remove(self, upload_id: str) -> None:
        """Let go of the bytes, and of what was made of them."""
        self.path(upload_id).unlink(missing_ok=True)
        shutil.rmtree(self._folder / f"{upload_id}.d", ignore_errors=True)

    def upload_ids(self) -> list[str]:
        """Of all that is here."""
        return sorted({name.removesuffix(".d") for name in os.listdir(self._folder)}) if self._folder.is_dir() else []


def write_chunk(file: int, offset_bytes: int, data: bytes) -> None:
    """Write and sync; bytes beyond, of a call that was cut off, are overwritten by the next chunk.

    Raises:
        NoReadyInstance: the disk is full.
    """
    try:
        view = memoryview(data)
        while view:
            written = os.pwrite(file, view, offset_bytes)
            offset_bytes, view = offset_bytes + written, view[written:]
        os.fsync(file)
    except OSError as error:
        if fault := full_disk(error):
            raise fault from error
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
