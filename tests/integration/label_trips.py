"""Pages with everything that labels can say, and their way out of one dataset and into another."""

from pathlib import Path

import numpy as np

from inkwright.dataset.v1 import transfer_pb2
from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.formats.all_formats import FORMATS, format_of
from libs.ocrkit.labels.holding import Loss, reduce_page
from libs.ocrkit.labels.page import Page, TextBox
from libs.ocrkit.labels.voc import read_voc
from libs.ocrkit.labels.voc_writer import write_voc
from tests.integration.pictures import write_image
from tests.integration.transfers import Outcome, State, ended, exported, rows_of, uploaded
from tests.integration.world import World
from tests.label_pages import same_boxes

WIDTH, HEIGHT = 200, 240
OF_PAGES = [key for key, one in FORMATS.items() if one.holds.place == "page"]
OF_CROPS = [key for key, one in FORMATS.items() if one.holds.place == "crop"]
_TURNED = np.array([[20, 100], [80, 90], [88, 134], [28, 144]], dtype=np.float64)
_OUTLINE = np.array([[120, 20], [150, 10], [180, 20], [180, 45], [120, 45]], dtype=np.float64)
_AROUND = quad_from_box(120, 10, 180, 45)
PAGES = {
    "a.png": Page(
        "a.png",
        WIDTH,
        HEIGHT,
        (
            TextBox(quad_from_box(5, 5, 60, 45), "Total: 12.30", attributes={"key_cls": "total", "class": "printed", "shop": "K 7"}),
            TextBox(quad_from_box(5.25, 50.5, 60, 90), "合计 \"¥\", 'x'"),
            TextBox(_TURNED, "turned"),
            TextBox(quad_from_box(100, 60, 150, 80), "", unreadable=True),
            TextBox(quad_from_box(100, 85, 150, 100), "half read", unreadable=True),
        ),
        confirmed=True,
    ),
    "扫描 1/b c.png": Page("扫描 1/b c.png", WIDTH, HEIGHT, (TextBox(_AROUND, "curved", outline=_OUTLINE),)),
    "empty.png": Page("empty.png", WIDTH, HEIGHT, ()),
}


def write_pages(world: World, *, labels: bool = True) -> None:
    for name, page in PAGES.items():
        path = write_image(world.folder / name, width_px=WIDTH, height_px=HEIGHT)
        if labels:
            path.with_suffix(".xml").write_bytes(
                write_voc(page.boxes, filename=path.name, width_px=WIDTH, height_px=HEIGHT, confirmed=page.confirmed)
            )


def lying(folder: Path, name: str) -> Page:
    data = (folder / name).with_suffix(".xml").read_bytes()
    read = read_voc(data, width_px=WIDTH, height_px=HEIGHT)
    return Page(name, WIDTH, HEIGHT, read.boxes, read.confirmed, data, read.unknown)


async def done(world: World, dataset: str, file_name: str, data: bytes, **options: object) -> list[transfer_pb2.LabelImportRow]:
    started = await uploaded(world.dataset, dataset, file_name, data, **options)  # type: ignore[arg-type]
    one = await ended(world.dataset, started.name)
    assert (one.state, one.error_message) == (State.SUCCEEDED, "")
    rows = await rows_of(world.dataset, one.name)
    assert [row.number for row in rows] == list(range(1, one.counts.num_rows + 1))
    return rows


async def there_and_back(world: World, key: str) -> None:
    write_pages(world)
    source = await world.indexed()
    data, report = await exported(world.dataset, source.name, key)
    assert (report.num_pages, report.num_failed, list(report.failures)) == (3, 0, [])
    other = world.apart(world.dataset_id + "-2")
    write_pages(other, labels=False)
    target = await other.indexed()
    rows = await done(other, target.name, "labels.zip", data)
    assert {row.key: Outcome.Name(row.outcome) for row in rows} == dict.fromkeys(PAGES, "IMPORTED")
    lost = dict.fromkeys(Loss, 0)
    for name in PAGES:
        expected, losses = reduce_page(lying(world.folder, name), format_of(key).holds)
        same_boxes(lying(other.folder, name), expected, atol=0.021)
        for loss, number in losses.items():
            lost[loss] += number
    assert {loss.code: loss.count for loss in report.losses} == {loss.name: number for loss, number in lost.items() if number}
    images = await other.images(target.name)
    assert {name: image.num_boxes for name, image in images.items()} == {name: len(page.boxes) for name, page in PAGES.items()}
