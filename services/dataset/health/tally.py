"""What a survey counts on its way through an index. It is saved with every batch, so it stays small however large the dataset is."""

import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from services.dataset.health.label_facts import angle_degrees, height_px, look_alikes
from services.dataset.health.report import FEW_IMAGES, RARE_BELOW, Code, Found, PixelFacts
from services.dataset.image import Image, LabelBox

NUM_EXAMPLES: Final = 20
_MOST_KINDS: Final = 1_000
"""Different cameras and sizes that are told apart; whatever is new after that is counted as one more."""
_OTHERS: Final = "…"
_ANGLE_STEP: Final = 10
_BORDER_STEP: Final = 16

BINS: Final[dict[str, tuple[float, ...]]] = {
    "LONG_SIDE_PX": (0, 100, 200, 400, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600, 12800),
    "ASPECT": (0, 0.125, 0.25, 0.5, 0.75, 1, 1.333, 2, 4, 8),
    "BOX_HEIGHT_PX": (0, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256),
    "TEXT_LENGTH": (0, 1, 2, 4, 8, 16, 32, 64, 128, 256),
}
"""Lower bounds; the last bin is open."""


def _empty_bins() -> dict[str, list[int]]:
    return {name: [0] * len(bounds) for name, bounds in BINS.items()}


@dataclass
class Tally:
    """Counts over the images so far.

    Args:
        found: images by code.
        examples: key, id and detail of the first images by code.
        rare: of each character that was seen fewer than ``RARE_BELOW`` times, the ids of its images.
        folder: the folder directly below the dataset's that is being walked, in key order one after the other.
        folder_images: its usable images while they are few: key and id.
    """

    found: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[list[str]]] = field(default_factory=dict)
    histograms: dict[str, list[int]] = field(default_factory=_empty_bins)
    characters: Counter[str] = field(default_factory=Counter)
    rare: dict[str, list[str]] = field(default_factory=dict)
    look_alikes: Counter[str] = field(default_factory=Counter)
    cameras: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    angles: Counter[str] = field(default_factory=Counter)
    borders: Counter[str] = field(default_factory=Counter)
    num_usable: int = 0
    num_lines: int = 0
    num_folders: int = 0
    folder: str | None = None
    folder_images: list[list[str]] = field(default_factory=list)

    @classmethod
    def unpack(cls, data: bytes) -> "Tally":
        """What ``pack`` made; an empty one from nothing."""
        if not data:
            return cls()
        values = orjson.loads(zlib.decompress(data))
        counters = ("found", "characters", "look_alikes", "cameras", "sizes", "angles", "borders")
        return cls(**values | {name: Counter(values[name]) for name in counters})

    def pack(self) -> bytes:
        """To be saved."""
        return zlib.compress(orjson.dumps(vars(self)), 1)

    def find(self, found: Iterable[Found]) -> None:
        """Count findings."""
        for one in found:
            self.found[one.code.value] += 1
            examples = self.examples.setdefault(one.code.value, [])
            if len(examples) < NUM_EXAMPLES:
                examples.append([one.key, one.image_id, one.detail])

    def enter_folder(self, key: str) -> list[Found]:
        """The next image, in key order; gives the findings of the folder that ended with the one before, if it is small."""
        head, slash, _ = key.partition("/")
        folder = head + slash if slash else ""
        if folder == self.folder:
            return []
        small = self.leave_folder()
        self.folder, self.folder_images = folder, []
        # Files directly in the dataset's folder come between the folders, and are none.
        self.num_folders += bool(folder)
        return small

    def leave_folder(self) -> list[Found]:
        """Its findings, if it is small and not just the dataset's folder itself."""
        if not self.folder or len(self.folder_images) >= FEW_IMAGES:
            return []
        detail = f"{self.folder} holds {len(self.folder_images)} usable images"
        return [Found(Code.SMALL_FOLDER, image_id, key, detail, key) for key, image_id in self.folder_images]

    def add_image(self, image: Image, pixels: PixelFacts | None) -> None:
        """A usable image."""
        self.num_usable += 1
        if len(self.folder_images) < FEW_IMAGES:
            self.folder_images.append([image.key, image.image_id])
        self._bin("LONG_SIDE_PX", max(image.width_px, image.height_px))
        self._bin("ASPECT", image.width_px / image.height_px)
        _count(self.sizes, f"{image.width_px} x {image.height_px}")
        if pixels is not None and not pixels.problem:
            _count(self.borders, str(pixels.border // _BORDER_STEP))
            if pixels.camera:
                _count(self.cameras, pixels.camera)

    def add_labels(self, image: Image, boxes: Sequence[LabelBox]) -> None:
        """Its boxes."""
        angle = angle_degrees(boxes)
        if angle is not None:
            self.angles[str(round(angle / _ANGLE_STEP) * _ANGLE_STEP)] += 1
        for kind in look_alikes(image, boxes):
            self.look_alikes[kind.value] += 1
        for box in boxes:
            self._bin("BOX_HEIGHT_PX", height_px(box))
            if box.unreadable:
                continue
            self._bin("TEXT_LENGTH", len(box.text))
            self.num_lines += bool(box.text.strip())
            for character, count in Counter(box.text).items():
                self._add_character(character, count, image.image_id)

    def _add_character(self, character: str, count: int, image_id: str) -> None:
        self.characters[character] += count
        if self.characters[character] >= RARE_BELOW:
            self.rare.pop(character, None)
        else:
            ids = self.rare.setdefault(character, [])
            if image_id not in ids:
                ids.append(image_id)

    def _bin(self, name: str, value: float) -> None:
        self.histograms[name][bisect_right(BINS[name], value) - 1] += 1


def _count(counter: Counter[str], what: str) -> None:
    counter[what if what in counter or len(counter) < _MOST_KINDS else _OTHERS] += 1
