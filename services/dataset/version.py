"""What a version of a dataset is: what it held at one moment. No I/O, no clock, no random."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from services.dataset.image import LabelBox


@dataclass(frozen=True)
class Version:
    """What a dataset held at one moment."""

    version_id: str
    digest: str
    num_images: int
    num_labeled: int
    create_time: datetime
    request_id: str


@dataclass(frozen=True)
class VersionEntry:
    """One usable image of a version, with its labels at that moment."""

    image_id: str
    key: str
    size_bytes: int
    store_etag: str
    width_px: int
    height_px: int
    label_digest: str
    boxes: tuple[LabelBox, ...] = ()


def digest_of(entries: Iterable[tuple[str, int, str, str]]) -> str:
    """SHA-256 (hex) over (key, size, store etag, label digest) of each image, whatever order they come in."""
    total = hashlib.sha256()
    for entry in sorted(entries):
        total.update("\0".join(map(str, entry)).encode("utf-8", "surrogateescape") + b"\n")
    return total.hexdigest()
