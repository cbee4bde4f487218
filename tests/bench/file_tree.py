"""Large folders made of few files: hard links, so that a million files take a minute and no space."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from libs.ocrkit.labels.voc import TextBox, write_voc

IN_A_FOLDER = 1000
"""Files; half of them images, half of them the label files beside them."""
NUM_PATTERNS = 200
MAX_LINKS = 60_000
"""ext4 allows 65,000 to one file."""


@dataclass(frozen=True)
class Tree:
    """Where the files are; ``num_files`` of them, in folders within folders."""

    root: Path
    num_files: int

    def folders(self) -> list[Path]:
        """All that hold files, in order."""
        return [folder_of(self.root, number) for number in range(-(-self.num_files // IN_A_FOLDER))]


def folder_of(root: Path, number: int) -> Path:
    """The ``number``-th folder that holds files."""
    return root / f"box-{number // 100:03}" / f"folder-{number % 100:02}"


def grow(root: Path, num_files: int) -> Tree:
    """Make a tree: pages of 640 x 360 pixels with four lines of text, and for each the label file.

    Args:
        root: does not exist yet; on a file system with hard links.
        num_files: images and label files together.
    """
    patterns = list(_patterns(root / ".patterns", NUM_PATTERNS * max(1, -(-num_files // (2 * NUM_PATTERNS * MAX_LINKS)))))
    tree = Tree(root, num_files)
    for number, folder in enumerate(tree.folders()):
        folder.mkdir(parents=True)
        for index in range(min(IN_A_FOLDER, num_files - number * IN_A_FOLDER) // 2):
            image, labels = patterns[(number * IN_A_FOLDER + index) % len(patterns)]
            os.link(image, folder / f"page{index:05}.jpg")
            os.link(labels, folder / f"page{index:05}.xml")
    return tree


def _patterns(folder: Path, number: int) -> Iterator[tuple[Path, Path]]:
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    for index in range(number):
        pixels = random.integers(180, 255, (360, 640, 3), dtype=np.uint8)
        boxes = [_line(f"line {row} of {index}", row, pixels) for row in range(4)]
        image, labels = folder / f"{index}.jpg", folder / f"{index}.xml"
        image.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        labels.write_bytes(write_voc(boxes, filename="page.jpg", width_px=640, height_px=360))
        yield image, labels


def _line(text: str, row: int, pixels: np.ndarray) -> TextBox:
    left, top = 40, 40 + 80 * row
    cv2.putText(pixels, text, (left, top + 30), cv2.FONT_HERSHEY_SIMPLEX, 1, (20, 20, 20), 2)
    corners: Sequence[tuple[int, int]] = ((left, top), (left + 400, top + 3), (left + 399, top + 43), (left - 1, top + 40))
    return TextBox(np.array(corners, dtype=np.float64), text)
