"""Generated photographs and their label files, written to disk and read again."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from libs.demo.cards import print_card
from libs.demo.difficulty import Difficulty
from libs.demo.fonts import FAMILIES, Face, Part, load_face
from libs.demo.forms import print_form
from libs.demo.generator import MAX_BYTES, GeneratedImage, generate, render
from libs.demo.people import POOLS
from libs.ocrkit.geometry import quad_area
from libs.ocrkit.labels.voc import read_voc
from libs.runtime.errors import NotFound


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[GeneratedImage]:
    folder = tmp_path_factory.mktemp("demo")
    return generate(folder / "images", num_images=6, seed=3, part="train", num_unlabeled=2, truth_dir=folder / "truth")


def test_label_files_say_what_was_returned(made: list[GeneratedImage]) -> None:
    for image in made[:4]:
        page = read_voc(image.path.with_suffix(".xml").read_bytes(), width_px=image.width_px, height_px=image.height_px)
        assert not page.findings
        assert [box.text for box in page.boxes] == [box.text for box in image.boxes]
        for read, true in zip(page.boxes, image.boxes, strict=True):
            np.testing.assert_allclose(read.quad, true.quad, atol=1e-9)


def test_the_last_images_have_no_label_file_but_a_truth_elsewhere(made: list[GeneratedImage]) -> None:
    assert [image.labelled for image in made] == [True] * 4 + [False] * 2
    assert [image.path.with_suffix(".xml").exists() for image in made] == [True] * 4 + [False] * 2
    images = made[0].path.parent
    truth = json.loads((images.parent / "truth" / "truth.json").read_text(encoding="utf-8"))
    assert {name: [line["text"] for line in lines] for name, lines in truth.items()} == {
        image.path.name: [box.text for box in image.boxes] for image in made
    }
    assert {path.suffix for path in images.iterdir()} == {".jpg", ".xml"}


def test_quads_lie_inside_and_run_clockwise_from_the_upper_left(made: list[GeneratedImage]) -> None:
    for image in made:
        assert len(image.boxes) >= 7
        for box in image.boxes:
            assert box.quad.min() >= 0
            assert np.all(box.quad <= (image.width_px, image.height_px))
            assert quad_area(box.quad) > 50
            first, second, third, fourth = box.quad
            assert first[0] < second[0]
            assert fourth[0] < third[0]
            assert first[1] < fourth[1]
            assert second[1] < third[1]


def test_files_are_small_jpegs_of_the_stated_size(made: list[GeneratedImage]) -> None:
    low, high = Difficulty().photo_width_px
    for image in made:
        pixels = cv2.imread(str(image.path))
        assert pixels is not None
        assert pixels.shape == (image.height_px, image.width_px, 3)
        assert low <= image.width_px <= high
        assert image.path.stat().st_size <= MAX_BYTES


def test_ink_is_where_the_quads_say() -> None:
    for print_sheet in (print_card, print_form):
        sheet = print_sheet("heldout", np.random.default_rng(1), Difficulty(ink_strength=(1, 1)), width_px=1200)
        ink_HW = np.abs(sheet.image.astype(int) - np.array(sheet.paper)).max(axis=2) > 90
        for line in sheet.lines:
            (left, top), (right, bottom) = line.quad[0].astype(int), np.ceil(line.quad[2]).astype(int)
            inside = ink_HW[top:bottom, left:right]
            # Ink reaches within a margin of each side, so no quad is loose and none is cut.
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            room = 0.25 * (bottom - top) + 2
            assert rows[0] <= room, line.text
            assert columns[0] <= room, line.text
            assert inside.shape[0] - rows[-1] <= room, line.text
            assert inside.shape[1] - columns[-1] <= room, line.text


def test_an_image_depends_on_part_seed_and_index_alone(made: list[GeneratedImage], tmp_path: Path) -> None:
    fewer = generate(tmp_path, num_images=2, seed=3, part="train")
    assert [image.path.name for image in fewer] == [image.path.name for image in made[:2]]
    assert [image.path.read_bytes() for image in fewer] == [image.path.read_bytes() for image in made[:2]]
    assert render(seed=4, part="train", index=0)[1] != fewer[0].path.read_bytes()
    assert render(seed=3, part="heldout", index=0)[1] != fewer[0].path.read_bytes()


def test_images_of_one_part_show_no_name_of_the_other() -> None:
    others: dict[Part, Part] = {"train": "heldout", "heldout": "train"}
    for part, other in others.items():
        texts = [box.text for index in range(4) for box in render(seed=9, part=part, index=index)[3]]
        words = {word for text in texts for word in text.upper().split()}
        pool = POOLS[other]
        assert not words & {name.upper() for name in (*pool.surnames, *pool.given_names, *pool.firms, *pool.towns)}


@pytest.mark.parametrize("part", tuple(FAMILIES))
def test_every_font_has_the_signs_it_is_used_for(part: Part) -> None:
    for family in FAMILIES[part]:
        for face in (family.regular, family.bold):
            signs = "–·€£ÉÖÜØ@|" + ("№" if family.numero else "")
            missing = _glyph(face, "\uffff")
            assert [sign for sign in signs if _glyph(face, sign) == missing] == [], face.file


def test_a_font_that_is_not_installed_is_named() -> None:
    with pytest.raises(NotFound, match="font-of-nobody"):
        load_face(Face("font_of_nobody", "Nobody.ttf"), 20)


def test_more_unlabelled_than_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_unlabeled"):
        generate(tmp_path, num_images=1, seed=1, part="train", num_unlabeled=2)


def _glyph(face: Face, sign: str) -> bytes:
    picture = Image.new("L", (60, 60), 0)
    ImageDraw.Draw(picture).text((10, 45), sign, font=load_face(face, 40), fill=255, anchor="ls")
    return picture.tobytes()
