"""What must hold however damaged a label file is; driven by Hypothesis in the tests and by atheris in ``make fuzz``."""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.formats.all_formats import FORMATS, format_of
from libs.ocrkit.labels.page import Page, ReadOptions, Row, TextBox
from libs.ocrkit.labels.reading import read_labels
from libs.ocrkit.labels.source import is_safe_name
from libs.ocrkit.labels.target import new_folder
from libs.ocrkit.labels.voc import write_voc
from tests.label_pages import HEIGHT, WIDTH, MemorySource, png

LABEL_FILES: Mapping[str, str] = {
    "voc": "a.xml",
    "ppocrlabel": "Label.txt",
    "icdar2015": "gt_a.txt",
    "icdar2013": "gt_a.txt",
    "coco-text": "labels.json",
    "label-studio": "labels.json",
    "itag": "labels.manifest",
    "doctr-det": "labels.json",
    "doctr-rec": "labels.json",
    "ppocr-rec": "rec_gt.txt",
    "icdar-rec": "gt.txt",
    "pairs": "labels.txt",
    "gt-txt": "a.gt.txt",
}
assert LABEL_FILES.keys() == FORMATS.keys()


@cache
def sample(key: str) -> bytes:
    """A sound label file of the format, with a box of each kind."""
    turned = np.array([[200.5, 100], [300, 110], [298, 140], [198.5, 130]])
    boxes = (TextBox(quad_from_box(0, 0, WIDTH, HEIGHT), 'one, "two" 三', attributes={"language": "de"}), TextBox(turned, "###", True))
    source = MemorySource({"a.png": png()})
    crop = format_of(key).holds.place == "crop"
    with tempfile.TemporaryDirectory() as folder:
        with new_folder(Path(folder, "photos")) as target:
            writer = format_of(key).writer(target)
            writer.add(Page("a.png", WIDTH, HEIGHT, boxes[:1] if crop else boxes), source)
            writer.close()
        return Path(folder, "photos", LABEL_FILES[key]).read_bytes()


def read_damaged(key: str, data: bytes) -> list[Row]:
    """Read a label file beside two images.

    Raises:
        AssertionError: something came of it that must not.
    """
    source = MemorySource({"a.png": png(), "images/a.png": png(), LABEL_FILES[key]: data})
    rows = list(read_labels(source, format_of(key), ReadOptions(nfc=len(data) % 2 == 0)))
    for row in rows:
        assert row.page is not None or row.findings or row.outcome == "unlabeled"
        assert all(finding.message for finding in row.findings)
        if row.page is not None:
            _check(row.page)
    return rows


def _check(page: Page) -> None:
    assert is_safe_name(page.name)
    assert page.width_px > 0
    assert page.height_px > 0
    for box in page.boxes:
        for points in (box.quad, box.outline):
            if points is not None:
                assert np.isfinite(points).all()
                assert points.min() >= 0
                assert (points <= [page.width_px, page.height_px]).all()
        assert box.text == box.text.strip()
    # Whatever was read, every program can carry.
    write_voc(page.boxes, filename="a.png", width_px=page.width_px, height_px=page.height_px, previous=page.voc)
