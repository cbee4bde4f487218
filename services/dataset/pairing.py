"""The files of a folder: which image has which label file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from libs.runtime.object_store import ObjectInfo
from services.dataset.image import source_tag

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
LABEL_SUFFIX: Final = ".xml"


@dataclass(frozen=True)
class Candidate:
    """An image of the folder with the label file that belongs to it.

    Args:
        image: the image file.
        label: the file of the same stem, if there is one.
        shares_label_with: keys of other images of the same stem.
    """

    image: ObjectInfo
    label: ObjectInfo | None = None
    shares_label_with: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the image and its label file."""
        return (self.image.key, self.label.key) if self.label else (self.image.key,)

    @property
    def source_tag(self) -> str:
        """Changes when the image, its label file or their pairing does; equal tags need no second look."""
        label = self.label
        parts = (self.image.etag, label.key if label else "", label.etag if label else "", *self.shares_label_with)
        return source_tag(*parts)


def stem_of(key: str) -> str:
    """The key without its extension: ``photos/a.JPG`` and ``photos/a.xml`` have the same."""
    folder, slash, name = key.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def file_stem_of(key: str) -> str:
    """The file name without folder and extension."""
    return stem_of(key).rpartition("/")[2]


def suffix_of(key: str) -> str:
    """The extension in lower case, with its point."""
    _, point, suffix = key.rpartition("/")[2].rpartition(".")
    return (point + suffix).lower() if point else ""


def is_image(key: str) -> bool:
    """Whether a file of this name is looked at as an image."""
    return suffix_of(key) in IMAGE_SUFFIXES


def pair(files: Iterable[ObjectInfo]) -> list[Candidate]:
    """Give each image its label file. In key order; other files are passed over."""
    images: dict[str, list[ObjectInfo]] = {}
    labels: dict[str, ObjectInfo] = {}
    for file in files:
        if is_image(file.key):
            images.setdefault(stem_of(file.key), []).append(file)
        elif suffix_of(file.key) == LABEL_SUFFIX:
            stem = stem_of(file.key)
            labels[stem] = min(file, labels.get(stem, file), key=lambda one: one.key)
    found: list[Candidate] = []
    for stem, same_stem in images.items():
        for image in same_stem:
            others = tuple(sorted(other.key for other in same_stem if other.key != image.key))
            found.append(Candidate(image, labels.get(stem), others))
    return sorted(found, key=lambda candidate: candidate.image.key)
