"""What a version of a dataset is: what it, and perhaps others with it, held at one moment. No I/O, no clock, no random."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from libs.runtime.errors import InvalidInput
from libs.runtime.names import DATASET, IMAGE
from services.dataset.image import LabelBox, LabelState

MAX_EXCLUDED: Final = 500
MAX_FURTHER: Final = 20
MAX_GLOB: Final = 1_000


@dataclass(frozen=True)
class VersionFilter:
    """Which images a version takes; an image has to pass all that is given.

    Args:
        label_states: images in one of them; empty: in any.
        key_prefix: with which keys begin.
        key_glob: which whole keys match; ``*`` is any characters, ``?`` one, nothing else is special.
        min_boxes: images with so many or more.
        excluded_images: names of images that are left out.
    """

    label_states: tuple[LabelState, ...] = ()
    key_prefix: str = ""
    key_glob: str = ""
    min_boxes: int = 0
    excluded_images: tuple[str, ...] = ()

    def check(self) -> None:
        """Nothing is too long, and what is excluded are names of images.

        Raises:
            InvalidInput: it is not so.
        """
        if self.min_boxes < 0:
            raise InvalidInput("min_boxes must not be negative; leave it out to take images without boxes too.", min_boxes=self.min_boxes)
        if len(self.key_glob) > MAX_GLOB:
            raise InvalidInput(f"The pattern has more than {MAX_GLOB} characters; use a shorter one.", maximum=MAX_GLOB)
        if len(self.excluded_images) > MAX_EXCLUDED:
            number = len(self.excluded_images)
            raise InvalidInput(f"{number} images are excluded; name at most {MAX_EXCLUDED}, or use a pattern.", num_images=number)
        for name in self.excluded_images:
            IMAGE.parse(name)

    def excluded_of(self, dataset: str) -> list[str]:
        """Ids of the images of one dataset that are left out."""
        ids = [IMAGE.parse(name) for name in self.excluded_images]
        return [one["image"] for one in ids if DATASET.format(project=one["project"], dataset=one["dataset"]) == dataset]


@dataclass(frozen=True)
class VersionPart:
    """One of the datasets of a version; ``dataset`` is its name."""

    dataset: str
    num_images: int
    num_labeled: int
    num_test: int


@dataclass(frozen=True)
class Version:
    """What one or several datasets held at one moment.

    Args:
        parts: in order of their names; one in a version of one dataset.
    """

    version_id: str
    digest: str
    create_time: datetime
    request_id: str
    parts: tuple[VersionPart, ...]
    filter: VersionFilter = VersionFilter()

    @property
    def num_images(self) -> int:
        """Over all parts."""
        return sum(part.num_images for part in self.parts)

    @property
    def num_labeled(self) -> int:
        """Over all parts."""
        return sum(part.num_labeled for part in self.parts)

    @property
    def num_test(self) -> int:
        """Over all parts."""
        return sum(part.num_test for part in self.parts)


@dataclass(frozen=True)
class VersionEntry:
    """One usable image of a version, with its labels at that moment; ``part`` counts the version's datasets from 0."""

    part: int
    image_id: str
    key: str
    size_bytes: int
    store_etag: str
    width_px: int
    height_px: int
    label_digest: str
    is_test: bool = False
    boxes: tuple[LabelBox, ...] = ()


class VersionDigest:
    """SHA-256 over the entries of a version, told one by one: by part, then by key in order of code points.

    Of a version of one dataset without a test set it is what versions were given before there were others, so that equal content is
    equal over the years. A key holds no zero byte, so what tells parts and test images apart cannot be mistaken for one.
    """

    def __init__(self) -> None:
        self._total = hashlib.sha256()

    def begin_part(self, dataset: str) -> None:
        """The next entries are of this dataset; not told where it is the only one."""
        self._total.update(f"\0{dataset}\n".encode())

    def add(self, key: str, size_bytes: int, store_etag: str, label_digest: str, is_test: bool) -> None:
        """The next entry."""
        words = (key, str(size_bytes), store_etag, label_digest, *(("test",) if is_test else ()))
        self._total.update("\0".join(words).encode("utf-8", "surrogateescape") + b"\n")

    def hexdigest(self) -> str:
        """Over all that was told."""
        return self._total.hexdigest()
