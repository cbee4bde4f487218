"""Photographs of business cards and forms with their labels, made from a seed.

    python -m libs.demo.generator --out cards/ --num-images 80 --part train --seed 1

Image ``index`` depends on part, seed and index alone: a larger set begins with the smaller one.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.demo.camera import draw_pose, photograph
from libs.demo.cards import print_card
from libs.demo.difficulty import Difficulty
from libs.demo.fonts import FAMILIES, Part
from libs.demo.forms import print_form
from libs.ocrkit.labels.voc import TextBox, write_voc

MAX_BYTES = 300_000
"""A file above it is compressed harder."""

_OVERSAMPLING = 1.25
"""The sheet is drawn this much finer than it is photographed."""

_MIN_IMAGES_FOR_PROCESSES = 16
"""Fewer are written before other processes have started."""

_DEFAULT = Difficulty()


@dataclass(frozen=True, eq=False)
class GeneratedImage:
    """One photograph and the truth about it.

    Args:
        path: of the JPEG.
        width_px: of the image.
        height_px: of the image.
        boxes: every line of text, rounded as a label file rounds; corners clockwise from the text's top left.
        labelled: a VOC file was written beside the image.
    """

    path: Path
    width_px: int
    height_px: int
    boxes: tuple[TextBox, ...]
    labelled: bool


def generate(
    out_dir: Path,
    *,
    num_images: int,
    seed: int,
    part: Part,
    num_unlabeled: int = 0,
    difficulty: Difficulty = _DEFAULT,
    truth_dir: Path | None = None,
) -> list[GeneratedImage]:
    """Write images ``card_0001.jpg`` or ``form_0001.jpg`` (and so on) with their labels.

    Args:
        out_dir: made when missing.
        num_images: of cards and forms together.
        seed: of all chance.
        part: whose fonts, names and numbers.
        num_unlabeled: so many, the last ones, get no label file.
        difficulty: ranges of everything that makes reading hard.
        truth_dir: where ``truth.json`` goes, the texts and quads of all images by file name; None writes none.

    Raises:
        ValueError: ``num_unlabeled`` is negative or above ``num_images``.
        NotFound: a demo font is not installed.
    """
    if not 0 <= num_unlabeled <= num_images:
        raise ValueError(f"num_unlabeled must be 0 to {num_images}, not {num_unlabeled}")
    out_dir.mkdir(parents=True, exist_ok=True)
    write = partial(_write, out_dir, num_labelled=num_images - num_unlabeled, seed=seed, part=part, difficulty=difficulty)
    if num_images < _MIN_IMAGES_FOR_PROCESSES:
        images = [write(index) for index in range(num_images)]
    else:
        # Spawned, not forked: the caller may hold threads.
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            images = list(pool.map(write, range(num_images), chunksize=4))
    if truth_dir is not None:
        truth_dir.mkdir(parents=True, exist_ok=True)
        truth = {image.path.name: [{"text": box.text, "quad": box.quad.tolist()} for box in image.boxes] for image in images}
        (truth_dir / "truth.json").write_text(json.dumps(truth, ensure_ascii=False, indent=1), encoding="utf-8")
    return images


def render(
    *, seed: int, part: Part, index: int, difficulty: Difficulty = _DEFAULT
) -> tuple[str, bytes, tuple[int, int], tuple[TextBox, ...]]:
    """One image without writing it: kind (``card`` or ``form``), JPEG, width and height in pixels, true boxes."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(part), index])
    kind = "form" if rng.random() < difficulty.form_share else "card"
    photo_width = int(rng.uniform(*difficulty.photo_width_px))
    sheet_width = photo_width * float(rng.uniform(*(difficulty.form_width if kind == "form" else difficulty.card_width)))
    sheet = (print_form if kind == "form" else print_card)(part, rng, difficulty, width_px=sheet_width * _OVERSAMPLING)
    sheet_HW3 = sheet.image
    pose = draw_pose(
        rng,
        difficulty,
        photo_width_px=photo_width,
        sheet_width_px=sheet_width,
        sheet_size_px=(sheet_HW3.shape[1], sheet_HW3.shape[0]),
    )
    photo_HW3 = photograph(sheet_HW3, pose, rng, difficulty)
    boxes = tuple(TextBox(np.round(pose.project(line.quad), 2), line.text) for line in sheet.lines)
    return kind, _jpeg(photo_HW3, int(rng.uniform(*difficulty.jpeg_quality))), (pose.width_px, pose.height_px), boxes


def _write(out_dir: Path, index: int, num_labelled: int, seed: int, part: Part, difficulty: Difficulty) -> GeneratedImage:
    kind, jpeg, (width, height), boxes = render(seed=seed, part=part, index=index, difficulty=difficulty)
    path = out_dir / f"{kind}_{index + 1:04}.jpg"
    path.write_bytes(jpeg)
    labelled = index < num_labelled
    if labelled:
        path.with_suffix(".xml").write_bytes(write_voc(boxes, filename=path.name, width_px=width, height_px=height))
    return GeneratedImage(path, width, height, boxes, labelled)


def _jpeg(photo_HW3: NDArray[np.uint8], quality: int) -> bytes:
    blue_first = cv2.cvtColor(photo_HW3, cv2.COLOR_RGB2BGR)
    while True:
        data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= MAX_BYTES or quality <= 30:
            return data
        quality -= 8


def main() -> None:
    """Generate one set from the command line."""
    parser = argparse.ArgumentParser(description="Generate photographs of cards and forms with their labels.")
    parser.add_argument("--out", type=Path, required=True, help="folder for images and label files")
    parser.add_argument("--num-images", type=int, required=True)
    parser.add_argument("--part", choices=tuple(FAMILIES), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--num-unlabeled", type=int, default=0, help="so many, the last ones, get no label file")
    parser.add_argument("--truth", type=Path, help="folder for truth.json, which holds the truth about every image")
    options = parser.parse_args()
    images = generate(
        options.out,
        num_images=options.num_images,
        seed=options.seed,
        part=options.part,
        num_unlabeled=options.num_unlabeled,
        truth_dir=options.truth,
    )
    print(f"{len(images)} images, {sum(len(image.boxes) for image in images)} lines in {options.out}")


if __name__ == "__main__":
    main()
