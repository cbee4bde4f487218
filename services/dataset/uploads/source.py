"""What an upload consists of: groups of files with one name, read one after another."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from libs.demo.generator import render
from libs.ocrkit.labels.voc import write_voc
from services.dataset.uploads.upload import Upload

DEMO_SEED: Final = 1
_PIECE_BYTES: Final = 1024 * 1024


class Refused(Exception):
    """A file, or a whole upload, that nothing can be made of.

    Args:
        reason: in capitals.
        message: what is wrong and what to do.
        is_skipped: it was not meant for a dataset.
    """

    def __init__(self, reason: str, message: str, *, is_skipped: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.is_skipped = is_skipped


@dataclass(frozen=True)
class Entry:
    """One file.

    Args:
        name: for its row.
        key: where it goes.
        size_bytes: as its container says.
        read: gives the whole content. Blocks.
        on_disk: gives a path of its content; it may write one to the path it is given. Blocks.
        refusal: known without reading it. Reading may raise ``Refused`` as well.
    """

    name: str
    key: str
    size_bytes: int
    read: Callable[[], bytes]
    on_disk: Callable[[Path], Path]
    refusal: Refused | None = None


class Source(Protocol):
    """Groups of entries by number. A group holds images and label files that differ in their endings only."""

    @property
    def num_groups(self) -> int:
        """How many there are; the same each time."""
        ...

    def group(self, number: int) -> Sequence[Entry]:
        """The entries of one. Blocks."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class OneFile:
    """An image, label file or document."""

    num_groups = 1

    def __init__(self, upload: Upload, path: Path) -> None:
        self._entry = Entry(upload.file_name, upload.key, upload.size_bytes, path.read_bytes, lambda _scratch: path)

    def group(self, number: int) -> Sequence[Entry]:
        """See ``Source``."""
        return [self._entry]

    def close(self) -> None:
        """See ``Source``."""


class DemoImages:
    """Generated photographs with their labels, the last quarter without."""

    def __init__(self, num_images: int) -> None:
        self.num_groups = num_images
        self._num_labelled = num_images - num_images // 4

    def group(self, number: int) -> Sequence[Entry]:
        """See ``Source``."""
        kind, jpeg, (width, height), boxes = render(seed=DEMO_SEED, part="train", index=number)
        image = f"{kind}_{number + 1:04}.jpg"
        files = [(image, jpeg)]
        if number < self._num_labelled:
            labels = write_voc(boxes, filename=image, width_px=width, height_px=height)
            files.append((image.removesuffix("jpg") + "xml", labels))
        return [held(name, name, data) for name, data in files]

    def close(self) -> None:
        """See ``Source``."""


def held(name: str, key: str, data: bytes) -> Entry:
    """A file whose content is in memory."""

    def on_disk(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return Entry(name, key, len(data), lambda: data, on_disk)


def check_digest(path: Path, sha256: str) -> None:
    """Whether the bytes that came are those that were meant. Blocks.

    Raises:
        Refused: they are others.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    if sha256 and digest.hexdigest() != sha256:
        message = f"The bytes that came have the SHA-256 {digest.hexdigest()}, not {sha256}; send the file again."
        raise Refused("WRONG_DIGEST", message)
