"""Uploads: files on their way into a dataset's folder."""

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from libs.runtime.errors import Conflict, InvalidInput, TooLarge, WrongState
from services.dataset.uploads.names import UnsafeName, safe_key

MAX_CHUNK_BYTES: Final = 8 * 1024 * 1024

_SHA256 = re.compile(r"[0-9a-f]{64}")


class UploadState(StrEnum):
    """See the proto."""

    RECEIVING = "RECEIVING"
    PROCESSING = "PROCESSING"
    DONE = "DONE"
    FAILED = "FAILED"


class UploadSource(StrEnum):
    """See the proto."""

    FILE = "FILE"
    DEMO = "DEMO"


class Result(StrEnum):
    """What became of one file."""

    STORED = "STORED"
    ALREADY_THERE = "ALREADY_THERE"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Args:
        source: its name, in a ZIP its path there.
        key: in the dataset's folder; empty when it was not stored.
        reason: in capitals; empty when all is well.
        message: for people.
    """

    source: str
    result: Result
    key: str = ""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class UploadCounts:
    """Files by result, and groups of files with one name: those done and those there are."""

    num_stored: int = 0
    num_already_there: int = 0
    num_skipped: int = 0
    num_failed: int = 0
    num_done: int = 0
    num_total: int = 0

    @property
    def num_rows(self) -> int:
        """Of the files that have one."""
        return self.num_stored + self.num_already_there + self.num_skipped + self.num_failed


@dataclass(frozen=True)
class UploadOptions:
    """What to do with names that are taken, with documents, with pictures of another format; see the proto."""

    rename: bool = False
    split_pages: bool = False
    convert: bool = False


@dataclass(frozen=True)
class Upload:
    """One upload.

    Args:
        size_bytes: of a file; of demo data the number of images.
        received_bytes: safe on disk.
        sync_owed: files were stored that no sync has been asked for yet.
    """

    upload_id: str
    dataset_uid: str
    file_name: str
    folder: str
    size_bytes: int
    create_time: datetime
    update_time: datetime
    sha256: str = ""
    options: UploadOptions = field(default_factory=UploadOptions)
    source: UploadSource = UploadSource.FILE
    state: UploadState = UploadState.RECEIVING
    received_bytes: int = 0
    error_message: str = ""
    counts: UploadCounts = field(default_factory=UploadCounts)
    sync_owed: bool = False

    @property
    def key(self) -> str:
        """Where the file goes, unless it is taken apart."""
        return f"{self.folder}/{self.file_name}" if self.folder else self.file_name

    def check_offset(self, offset_bytes: int) -> None:
        """Whether a chunk may be taken.

        Raises:
            WrongState: no more bytes are wanted.
            Conflict: they are wanted from another offset on.
        """
        if self.state is not UploadState.RECEIVING:
            raise WrongState(f"The upload is {self.state}; it takes no more bytes.", state=self.state)
        if offset_bytes != self.received_bytes:
            message = f"The next byte wanted is {self.received_bytes}, not {offset_bytes}; go on from there."
            raise Conflict(message, received_bytes=self.received_bytes)

    def check_room(self, num_bytes: int) -> None:
        """Whether a chunk fits.

        Raises:
            TooLarge: more than a chunk may have, or than the file was said to have.
        """
        if num_bytes > MAX_CHUNK_BYTES:
            raise TooLarge(f"A chunk may have {MAX_CHUNK_BYTES} bytes; send the file in more of them.", max_bytes=MAX_CHUNK_BYTES)
        if self.received_bytes + num_bytes > self.size_bytes:
            message = f"The file was said to have {self.size_bytes} bytes and more came; begin a new upload with the right size."
            raise TooLarge(message, max_bytes=self.size_bytes)

    def received(self, num_bytes: int, *, at: datetime) -> "Upload":
        """A chunk is safe."""
        total = self.received_bytes + num_bytes
        state = UploadState.PROCESSING if total == self.size_bytes else self.state
        return replace(self, received_bytes=total, state=state, update_time=at)

    def moved_on(self, outcomes: list[Outcome], *, num_done: int, num_total: int, at: datetime) -> "Upload":
        """Files up to group ``num_done`` have their rows."""
        num = {result: sum(outcome.result is result for outcome in outcomes) for result in Result}
        old = self.counts
        counts = UploadCounts(
            num_stored=old.num_stored + num[Result.STORED],
            num_already_there=old.num_already_there + num[Result.ALREADY_THERE],
            num_skipped=old.num_skipped + num[Result.SKIPPED],
            num_failed=old.num_failed + num[Result.FAILED],
            num_done=num_done,
            num_total=num_total,
        )
        # A file that is there may have been stored before a kill, and its row lost.
        found = num[Result.STORED] + num[Result.ALREADY_THERE] > 0
        return replace(self, counts=counts, sync_owed=self.sync_owed or found, error_message="", update_time=at)

    def waiting(self, message: str) -> "Upload":
        """For a disk or a store that may be well again."""
        return replace(self, error_message=message)

    def ended(self, error_message: str = "", *, at: datetime) -> "Upload":
        """Nothing is left to do, or nothing can be done."""
        state = UploadState.FAILED if error_message else UploadState.DONE
        return replace(self, state=state, error_message=error_message, update_time=at)


def check_file(file_name: str, folder: str, size_bytes: int, sha256: str, *, max_bytes: int) -> str:
    """Return the folder without a slash at its end.

    Raises:
        InvalidInput: a name, folder or digest that is none.
        TooLarge: more than ``max_bytes``.
    """
    folder = folder.strip("/") if folder != "/" else ""
    try:
        if "/" in file_name or (folder and PurePosixPath(folder).is_absolute()):
            raise UnsafeName("a name holds no slash; the folder is given apart")
        safe_key(f"{folder}/{file_name}" if folder else file_name)
    except UnsafeName as unsafe:
        shown = f"{folder}/{file_name}"[:300]
        raise InvalidInput(f"{shown!r} cannot be stored: {unsafe}.", file_name=file_name[:300], folder=folder[:300]) from unsafe
    if size_bytes < 1:
        raise InvalidInput("size_bytes must be the number of bytes of the file, 1 or more.", size_bytes=size_bytes)
    if size_bytes > max_bytes:
        message = f"{file_name[:300]} has {size_bytes} bytes, more than the {max_bytes} an upload may have; send it in parts."
        raise TooLarge(message, max_bytes=max_bytes)
    if sha256 and not _SHA256.fullmatch(sha256):
        raise InvalidInput("sha256 must be 64 lower-case hex digits, or empty.", sha256=sha256[:100])
    return folder
