"""Labels in folders: written, read again, converted there and back; nothing is lost but what a format has no field for."""

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from libs.client.cli import app
from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.convert import Conversion, convert_labels
from libs.ocrkit.labels.format import Format
from libs.ocrkit.labels.formats.all_formats import FORMATS, format_of
from libs.ocrkit.labels.holding import Loss, reduce_page
from libs.ocrkit.labels.page import Page, ReadOptions, Row, TextBox
from libs.ocrkit.labels.reading import guess_format, read_labels
from libs.ocrkit.labels.source import FolderSource
from libs.ocrkit.labels.target import new_folder
from libs.runtime.errors import AlreadyExists, InvalidInput
from tests.label_pages import HEIGHT, WIDTH, MemorySource, pages, png, same_boxes

OF_PAGES = [key for key, one in FORMATS.items() if one.holds.place == "page"]
OF_CROPS = [key for key, one in FORMATS.items() if one.holds.place == "crop"]
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def write(folder: Path, label_format: Format, labeled: Sequence[Page]) -> None:
    """A folder of images with labels, as a conversion into the format makes it."""
    source = MemorySource({page.name: png(page.width_px, page.height_px) for page in labeled})
    with new_folder(folder) as target:
        writer = label_format.writer(target)
        for page in labeled:
            writer.add(reduce_page(page, label_format.holds)[0], source)
            if label_format.holds.place == "page":
                target.write_new(page.name, source.files[page.name])
        writer.close()


def read(folder: Path, label_format: Format) -> dict[str, Page]:
    rows = list(read_labels(FolderSource(folder), label_format))
    assert [finding for row in rows for finding in row.findings if finding.severity != "warning"] == []
    return {row.page.name: row.page for row in rows if row.page is not None}


def convert(here: Path, from_key: str, there: Path, to_key: str) -> tuple[Conversion, list[Row]]:
    rows: list[Row] = []
    with new_folder(there) as target:
        done = convert_labels(FolderSource(here), format_of(from_key), target, format_of(to_key), on_row=rows.append)
    return done, rows


@pytest.mark.parametrize("key", OF_PAGES)
def test_what_is_written_is_read_again_but_for_what_the_format_lacks(key: str) -> None:
    label_format = format_of(key)

    @SOME
    @given(pages())
    def check(labeled: list[Page]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder, "photos"), label_format, labeled)
            found = read(Path(folder, "photos"), label_format)
        assert found.keys() == {page.name for page in labeled}
        for page in labeled:
            same_boxes(found[page.name], reduce_page(page, label_format.holds)[0])

    check()


@pytest.mark.parametrize("key", OF_CROPS)
def test_crops_keep_every_text_that_can_be_read(key: str) -> None:
    label_format = format_of(key)

    @SOME
    @given(pages())
    def check(labeled: list[Page]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder, "photos"), label_format, labeled)
            found = read(Path(folder, "photos"), label_format)
        texts = Counter(box.text for page in labeled for box in page.boxes if not box.unreadable)
        assert Counter(box.text for page in found.values() for box in page.boxes) == texts
        for page in found.values():
            (box,) = page.boxes
            np.testing.assert_array_equal(box.quad, quad_from_box(0, 0, page.width_px, page.height_px))

    check()


@SOME
@given(pages(), st.sampled_from(OF_PAGES), st.sampled_from(OF_PAGES))
def test_there_and_back_loses_what_either_format_lacks(labeled: list[Page], here: str, there: str) -> None:
    first, second = format_of(here), format_of(there)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "a"), first, labeled)
        convert(Path(folder, "a"), here, Path(folder, "b"), there)
        done, _ = convert(Path(folder, "b"), there, Path(folder, "c"), here)
        found = read(Path(folder, "c"), first)
    assert done.outcomes.keys() == {"imported"}
    for page in labeled:
        expected = reduce_page(reduce_page(page, first.holds)[0], second.holds)[0]
        # Whole pixels of a rectangle around a polygon: float32 may round a half to either side.
        atol = 1.02 if any(box.outline is not None for box in page.boxes) else 0.021
        same_boxes(found[page.name], reduce_page(expected, first.holds)[0], atol)


@pytest.mark.parametrize("key", FORMATS)
def test_every_format_is_known_by_its_files(tmp_path: Path, key: str) -> None:
    write(tmp_path / "photos", format_of(key), [Page("a.png", WIDTH, HEIGHT, (TextBox(quad_from_box(10, 20, 110, 50), 'say "hi", all'),))])
    assert guess_format(FolderSource(tmp_path / "photos")).key == key


def test_labels_of_two_formats_are_asked_about(tmp_path: Path) -> None:
    page = Page("a.png", WIDTH, HEIGHT, (TextBox(quad_from_box(10, 20, 110, 50), "A"),))
    write(tmp_path / "photos", format_of("voc"), [page])
    (tmp_path / "photos" / "Label.txt").write_text("a.png\t[]\n")
    with pytest.raises(InvalidInput, match=r"voc, ppocrlabel.*say which"):
        guess_format(FolderSource(tmp_path / "photos"))
    with pytest.raises(InvalidInput, match="no labels"):
        guess_format(MemorySource({"a.png": png()}))


def test_only_what_the_target_has_no_field_for_is_reported_as_lost(tmp_path: Path) -> None:
    outline = np.array([[10, 20], [60, 15], [110, 20], [110, 50], [10, 50]], dtype=np.float64)
    turned = np.array([[200.5, 100], [300, 110], [298, 140], [198.5, 130]])
    boxes = (
        TextBox(quad_from_box(10, 15, 110, 50), "BENT", attributes={"score": "0.9", "language": "de"}, outline=outline),
        TextBox(turned, "TURNED"),
        TextBox(quad_from_box(10, 200, 90, 230), "SMUDGED", unreadable=True),
    )
    write(tmp_path / "here", format_of("voc"), [Page("a.png", WIDTH, HEIGHT, boxes, confirmed=True), Page("b.png", WIDTH, HEIGHT, ())])
    expected = {
        "voc": {},
        "label-studio": {Loss.CONFIRMED: 1},
        "coco-text": {Loss.CONFIRMED: 1, Loss.ATTRIBUTES: 1},
        "ppocrlabel": {Loss.ATTRIBUTES: 2},
        "itag": {Loss.UNREADABLE_TEXT: 1},
        "icdar2015": {Loss.OUTLINE: 1, Loss.FRACTIONS: 1, Loss.ATTRIBUTES: 2, Loss.UNREADABLE_TEXT: 1, Loss.CONFIRMED: 1},
        "icdar2013": {Loss.OUTLINE: 1, Loss.TURN: 1, Loss.FRACTIONS: 1, Loss.ATTRIBUTES: 2, Loss.UNREADABLE_TEXT: 1, Loss.CONFIRMED: 1},
        "doctr-det": {Loss.OUTLINE: 1, Loss.ATTRIBUTES: 2, Loss.TEXT: 3, Loss.UNREADABLE: 1, Loss.CONFIRMED: 1},
        "pairs": {Loss.PLACE: 2, Loss.ATTRIBUTES: 2, Loss.UNREADABLE: 1, Loss.CONFIRMED: 1, Loss.EMPTY_PAGES: 1},
    }
    for key, losses in expected.items():
        done, _ = convert(tmp_path / "here", "voc", tmp_path / key, key)
        assert done.losses == losses, key


def test_elements_of_others_go_through_from_voc_to_voc_and_are_counted_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.png").write_bytes(png())
    body = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>90</xmax><ymax>30</ymax></bndbox>"
    xml = f"<annotation><mood>good</mood><object><name>A</name><occluded>1</occluded><pose>Unspecified</pose>{body}</object></annotation>"
    (tmp_path / "here" / "a.xml").write_text(xml)
    done, _ = convert(tmp_path / "here", "voc", tmp_path / "voc", "voc")
    assert not done.losses
    written = (tmp_path / "voc" / "a.xml").read_text()
    assert "<mood>good</mood>" in written
    assert "<occluded>1</occluded>" in written
    done, _ = convert(tmp_path / "here", "voc", tmp_path / "itag", "itag")
    assert done.losses == {Loss.ELEMENTS: 2}


def test_crops_of_crops_are_the_same_files(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (40, 200, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "w.png"), pixels)
    (tmp_path / "a" / "w.gt.txt").write_text("two  words\n")
    done, _ = convert(tmp_path / "a", "gt-txt", tmp_path / "b", "doctr-rec")
    assert not done.losses
    convert(tmp_path / "b", "doctr-rec", tmp_path / "c", "gt-txt")
    assert {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()
    }


def test_a_crop_shows_the_text_as_it_stands_also_when_it_runs_downwards(tmp_path: Path) -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    pixels[100:120, 50:70] = 0
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "p.png"), pixels)
    (tmp_path / "a" / "gt_p.txt").write_text("50,100,70,100,70,200,50,200,tall\n")
    convert(tmp_path / "a", "icdar2015", tmp_path / "b", "pairs")
    crop = cv2.imread(str(tmp_path / "b" / "images" / "p_crop_0.png"))
    assert crop is not None
    assert crop.shape == (100, 20, 3)
    assert crop[:18].max() == 0
    assert crop[23:].min() == 255


def test_two_images_of_one_label_file_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    listed = "".join(f'{name}\t[{{"transcription":"A","points":[[1,1],[50,1],[50,20],[1,20]]}}]\n' for name in ("a.png", "a.bmp", "b.png"))
    (tmp_path / "here").mkdir()
    for name in ("a.png", "a.bmp", "b.png"):
        (tmp_path / "here" / name).write_bytes(png())
    (tmp_path / "here" / "Label.txt").write_text(listed)
    done, rows = convert(tmp_path / "here", "ppocrlabel", tmp_path / "there", "voc")
    assert done.outcomes == {"imported": 2, "failed": 1}
    assert [(row.name, row.findings[0].code) for row in rows if row.outcome == "failed"] == [("a.bmp", "ALREADY_EXISTS")]
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["a.png", "a.xml", "b.png", "b.xml"]


def test_images_without_labels_come_along_as_such(tmp_path: Path) -> None:
    write(tmp_path / "here", format_of("voc"), [Page("a.png", WIDTH, HEIGHT, ())])
    (tmp_path / "here" / "new.png").write_bytes(png())
    done, _ = convert(tmp_path / "here", "voc", tmp_path / "there", "ppocrlabel")
    assert done.outcomes == {"imported": 1, "unlabeled": 1}
    assert (tmp_path / "there" / "Label.txt").read_text() == "there/a.png\t[]\n"
    assert (tmp_path / "there" / "new.png").is_file()


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").write_text("mine")
    with pytest.raises(AlreadyExists), new_folder(tmp_path / "there"):
        pass

    def broken_off() -> None:
        with new_folder(tmp_path / "other") as target:
            target.write_new("half", b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "mine"]


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    here = tmp_path / "here"
    here.mkdir()
    (here / "link.png").symlink_to(tmp_path / "secret.png")
    box = '[{"transcription":"A","points":[[1,1],[50,1],[50,20],[1,20]]}]'
    said = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "a/../../secret.png", "..\\secret.png"]
    (here / "Label.txt").write_text("".join(f"{name}\t{box}\n" for name in said))
    rows = list(read_labels(FolderSource(here), format_of("ppocrlabel"), ReadOptions()))
    assert [row.page for row in rows] == [None] * len(rows)
    assert [row.findings[0].code for row in rows[: len(said)]] == [
        "NAME_REFUSED",
        "IMAGE_MISSING",
        "IMAGE_MISSING",
        "NAME_REFUSED",
        "IMAGE_MISSING",
    ]


def test_inkctl_convert_says_what_was_done_and_lost(tmp_path: Path) -> None:
    boxes = (TextBox(np.array([[200, 100], [300, 110], [298, 140], [198, 130]], dtype=np.float64), "A"),)
    write(tmp_path / "here", format_of("voc"), [Page("a.png", WIDTH, HEIGHT, boxes)])
    ran = CliRunner().invoke(app, ["convert", str(tmp_path / "here"), str(tmp_path / "there"), "--to-format", "icdar2013"])
    assert ran.exit_code == 0, ran.output
    assert "voc to icdar2013: 1 imported; 1 box written" in ran.output
    assert Loss.TURN.value in ran.output
    (tmp_path / "here" / "b.xml").write_text("<annotation>")
    ran = CliRunner().invoke(app, ["convert", str(tmp_path / "here"), str(tmp_path / "next"), "--to-format", "ppocrlabel", "--json"])
    assert ran.exit_code == 4
    told = json.loads(ran.stdout)
    assert (told["outcomes"], told["losses"]) == ({"imported": 1, "failed": 1}, {})
    assert [row["findings"][0]["code"] for row in told["rows"] if row["outcome"] == "failed"] == ["LABEL_UNREADABLE"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--to-format", "word"], 1, "there are voc, ppocrlabel"),
        (["--to-format", "voc"], 1, "no labels of a known format"),
        (["--to-format", "voc", "--turned", "45"], 2, "--turned is 90 or 270"),
        (["--to-format", "voc", "--from-format", "pairs"], 1, "neither labels of the format pairs nor images"),
    ],
)
def test_inkctl_convert_refuses_what_makes_no_sense(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "here").mkdir()
    ran = CliRunner().invoke(app, ["convert", str(tmp_path / "here"), str(tmp_path / "there"), *arguments])
    assert ran.exit_code == code
    assert said in ran.output.replace("\n", " ")
    assert not (tmp_path / "there").exists()


def test_inkctl_convert_does_not_write_into_what_it_reads(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["convert", str(tmp_path), str(tmp_path / "there"), "--to-format", "voc"])
    assert ran.exit_code == 2
    assert list(tmp_path.iterdir()) == []
