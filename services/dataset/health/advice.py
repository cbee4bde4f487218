"""What a survey says of a dataset as a whole: rare characters, too few images, too little variety. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from services.dataset.health.report import FEW_IMAGES, Code, Found
from services.dataset.health.tally import Tally
from services.dataset.image import Image

NEARLY_ALL: Final = 0.95
_JUDGED: Final = 20
"""Of fewer images nothing is said about variety."""


def rare_images(tally: Tally) -> set[str]:
    """Ids of images that hold a rare character."""
    return {image_id for ids in tally.rare.values() for image_id in ids}


def rare_findings(tally: Tally, images: Mapping[str, Image]) -> list[Found]:
    """Which rare characters each of them holds, in key order."""
    held: dict[str, list[str]] = {}
    for character, ids in sorted(tally.rare.items()):
        for image_id in ids:
            held.setdefault(image_id, []).append(character)
    present = sorted((images[image_id] for image_id in held if image_id in images), key=lambda image: image.key)
    return [Found(Code.RARE_CHARACTER, image.image_id, image.key, " ".join(held[image.image_id])) for image in present]


def of_whole(tally: Tally) -> dict[Code, int]:
    """Findings about all images, with the number of images they stand for."""
    return dict(_of_whole(tally))


def _of_whole(tally: Tally) -> Iterator[tuple[Code, int]]:
    if tally.num_usable < FEW_IMAGES:
        yield Code.FEW_IMAGES, tally.num_usable
    cameras = tally.cameras if tally.cameras.total() >= tally.num_usable * NEARLY_ALL else tally.sizes
    for code, counter in ((Code.ONE_CAMERA, cameras), (Code.ONE_ANGLE, tally.angles), (Code.ONE_BACKGROUND, tally.borders)):
        num = _of_one_kind(counter)
        if num:
            yield code, num


def _of_one_kind(counter: Counter[str]) -> int:
    """How many are of the most frequent kind, if nearly all are."""
    total = counter.total()
    most = max(counter.values(), default=0)
    return most if total >= _JUDGED and most >= total * NEARLY_ALL else 0
