"""Labels of every format into a dataset and out of it."""

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from inkwright.dataset.v1 import transfer_pb2
from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.formats.all_formats import FORMATS, format_of
from libs.ocrkit.labels.holding import Loss, reduce_page
from libs.ocrkit.labels.page import Page, TextBox
from libs.ocrkit.labels.voc import read_voc
from libs.ocrkit.labels.voc_writer import write_voc
from libs.runtime.errors import InvalidInput, NotFound
from libs.runtime.grpc_client import call
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.transfers import Outcome, State, ended, exported, frozen, rows_of, told, uploaded, zipped
from tests.integration.world import World, dataset_world
from tests.label_pages import same_boxes

pytestmark = pytest.mark.asyncio(loop_scope="module")

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


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases, storage: str) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage=storage) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


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


@pytest.mark.parametrize("key", OF_PAGES)
async def test_what_goes_out_comes_in_again_but_for_what_the_format_lacks(world: World, key: str) -> None:
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


@pytest.mark.parametrize("key", OF_CROPS)
async def test_crops_go_out_with_their_texts_and_come_in_again(world: World, key: str) -> None:
    write_pages(world)
    source = await world.indexed()
    data, _ = await exported(world.dataset, source.name, key)
    other = world.apart(world.dataset_id + "-2")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(other.folder, [name for name in archive.namelist() if name.endswith((".png", ".jpg"))])
    target = await other.indexed()
    rows = await done(other, target.name, "labels.zip", data, label_format=key)
    assert {Outcome.Name(row.outcome) for row in rows} == {"IMPORTED"}
    labels = [await other.labels(image) for image in (await other.images(target.name)).values()]
    texts = sorted(box.text for one in labels for box in one.boxes)
    assert texts == sorted(box.text for page in PAGES.values() for box in page.boxes if not box.unreadable)


async def test_elements_that_mean_nothing_to_us_survive_an_import_of_voc(world: World) -> None:
    write_image(world.folder / "a.png")
    dataset = await world.indexed()
    voc = (
        "<annotation><owner><name>Li</name></owner><object><name>x</name><pose>Left</pose>"
        "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>50</xmax><ymax>30</ymax></bndbox></object></annotation>"
    )
    await done(world, dataset.name, "labels.zip", zipped({"out/Annotations/a.xml": voc}))
    written = (world.folder / "a.xml").read_text()
    assert "<owner>" in written
    assert "<pose>Left</pose>" in written


async def test_labels_that_are_there_stay_unless_they_shall_be_replaced(world: World) -> None:
    there = write_labels(write_image(world.folder / "a.png").with_suffix(".xml"), [("old", (5, 5, 50, 30))])
    before = there.read_bytes()
    write_image(world.folder / "b.png")
    dataset = await world.indexed()
    line = '[{"transcription": "new", "points": [[5, 5], [60, 5], [60, 40], [5, 40]]}]'
    data = f"a.png\t{line}\nb.png\t{line}\n".encode()
    rows = told(await done(world, dataset.name, "Label.txt", data, overwrite=True, dry_run=True))
    assert rows == {"a.png": ("IMPORTED", []), "b.png": ("IMPORTED", [])}
    assert there.read_bytes() == before
    assert not (world.folder / "b.xml").exists()
    rows = told(await done(world, dataset.name, "Label.txt", data))
    assert rows == {"a.png": ("SKIPPED", ["HAS_LABELS"]), "b.png": ("IMPORTED", [])}
    assert there.read_bytes() == before
    rows = told(await done(world, dataset.name, "Label.txt", data, overwrite=True))
    assert rows == {"a.png": ("IMPORTED", []), "b.png": ("IMPORTED", [])}
    images = await world.images(dataset.name)
    assert [box.text for box in (await world.labels(images["a.png"])).boxes] == ["new"]
    # A sync finds nothing that the import did not tell of.
    synced = await world.sync(dataset.name)
    assert (synced.counts.num_labeled, synced.counts.num_boxes) == (2, 2)


async def test_every_row_says_what_became_of_it(world: World) -> None:
    for name in ("one/x.png", "two/x.png", "扫描/发票 1.png", "plain.jpg", "twice.png"):
        write_image(world.folder / name)
    (world.folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    dataset = await world.indexed()
    box = '{"transcription": "t", "points": [[5, 5], [60, 5], [60, 40], [5, 40]]}'
    lines = {
        "x.png": f"[{box}]",
        "data/one/x.png": f"[{box}]",
        "扫描//发票 1.png": f"[{box}]",
        "plain.png": f'[{box}, {{"transcription": "out", "points": [[500, 500], [600, 500], [600, 600], [500, 600]]}}]',
        "twice.png": f"[{box}]",
        "./twice.png": f"[{box}]",
        "nowhere.png": f"[{box}]",
        "../../etc/passwd.png": f"[{box}]",
        "broken.png": f"[{box}]",
    }
    data = "".join(f"{name}\t{line}\n" for name, line in lines.items()) + 'cut.png\t[{"transcription": "x", "poi\n'
    rows = await done(world, dataset.name, "Label.txt", data.encode())
    assert [(Outcome.Name(row.outcome), [finding.code for finding in row.findings]) for row in rows] == [
        ("SKIPPED", ["IMAGE_AMBIGUOUS"]),
        ("IMPORTED", []),
        ("IMPORTED", []),
        ("REPAIRED", ["IMAGE_ELSEWHERE", "OUTSIDE_IMAGE"]),
        ("IMPORTED", []),
        ("SKIPPED", ["LABELED_TWICE"]),
        ("IMAGE_MISSING", ["IMAGE_MISSING"]),
        ("FAILED", ["NAME_REFUSED"]),
        ("SKIPPED", ["IMAGE_REJECTED"]),
        ("FAILED", ["LINE_UNREADABLE"]),
    ]
    assert "one/x.png or two/x.png" in rows[0].findings[0].message
    assert rows[-1].findings[0].line == 10
    only = await call(
        world.dataset.ListLabelImportRows,
        transfer_pb2.ListLabelImportRowsRequest(parent=(await latest(world, dataset.name)).name, outcome=Outcome.FAILED),
    )
    assert [row.number for row in only.rows] == [8, 10]


async def test_labels_in_the_datasets_own_folder_are_imported_from_there(world: World) -> None:
    write_image(world.folder / "photos/a.png")
    (world.folder / "from").mkdir()
    line = '[{"transcription": "t", "points": [[5, 5], [60, 5], [60, 40], [5, 40]]}]'
    (world.folder / "from/Label.txt").write_text(f"photos/a.png\t{line}\n")
    dataset = await world.indexed()
    wanted = transfer_pb2.LabelImport(prefix="from/")
    request = transfer_pb2.CreateLabelImportRequest(parent=dataset.name, label_import=wanted, request_id="once")
    started = await call(world.dataset.CreateLabelImport, request)
    assert (await call(world.dataset.CreateLabelImport, request)).name == started.name
    one = await ended(world.dataset, started.name)
    assert (one.format, one.counts.num_imported, one.counts.num_boxes) == ("ppocrlabel", 1, 1)
    assert (world.folder / "photos/a.xml").exists()
    with pytest.raises(InvalidInput, match="prefix"):
        await call(world.dataset.CreateLabelImport, transfer_pb2.CreateLabelImportRequest(parent=dataset.name))


GBK = (
    '<?xml version="1.0" encoding="UTF-8"?><annotation><object><name>合计金额</name>'
    "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>50</xmax><ymax>30</ymax></bndbox></object></annotation>"
)
BOMB = '<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;&b;&b;">]><annotation><object><name>&c;</name></object></annotation>'


async def test_damaged_files_are_told_of_and_stop_nothing(world: World) -> None:
    for name in ("gbk", "bomb", "void", "good", "a & b?"):
        write_image(world.folder / f"{name}.png")
    dataset = await world.indexed()
    files = {"gbk.xml": GBK.encode("gb18030"), "bomb.xml": BOMB, "void.xml": b"", "a & b?.xml": GBK, "good.xml": GBK, "../up.xml": GBK}
    rows = told(await done(world, dataset.name, "labels.zip", zipped(files)))
    assert {key: outcome for key, (outcome, _) in rows.items()} == {
        "gbk.png": "REPAIRED",
        "bomb.xml": "FAILED",
        "void.xml": "FAILED",
        "good.png": "IMPORTED",
        "a & b?.png": "IMPORTED",
    }
    images = await world.images(dataset.name)
    assert [box.text for box in (await world.labels(images["gbk.png"])).boxes] == ["合计金额"]
    truncated = b'[{"image": "good.png", "annotations": [{"result": [{"type": "rect'
    rows = told(await done(world, dataset.name, "labels.json", truncated, label_format="label-studio"))
    assert [outcome for outcome, _ in rows.values()] == ["FAILED"]


@pytest.mark.parametrize(
    ("file_name", "data", "message"),
    [
        ("Label.txt", b"", "empty"),
        ("folder/Label.txt", b"x", "own name"),
        ("..", b"x", "own name"),
    ],
)
async def test_an_upload_that_makes_no_sense_is_refused_and_leaves_nothing(world: World, file_name: str, data: bytes, message: str) -> None:
    write_image(world.folder / "a.png")
    dataset = await world.indexed()
    with pytest.raises(InvalidInput, match=message):
        await uploaded(world.dataset, dataset.name, file_name, data)
    assert not (await call(world.dataset.ListLabelImports, transfer_pb2.ListLabelImportsRequest(parent=dataset.name))).label_imports


async def test_what_cannot_be_told_or_opened_fails_with_a_reason(world: World) -> None:
    write_image(world.folder / "a.png")
    dataset = await world.indexed()
    with pytest.raises(InvalidInput, match="no format"):
        await uploaded(world.dataset, dataset.name, "Label.txt", b"x", label_format="word")
    for file_name, data, message in (("notes.txt", b"nothing at all", "no labels"), ("cut.zip", zipped({"a.xml": GBK})[:40], "ZIP")):
        started = await uploaded(world.dataset, dataset.name, file_name, data)
        one = await ended(world.dataset, started.name)
        assert one.state == State.FAILED
        assert message in one.error_message


async def test_a_version_gives_the_same_bytes_whatever_happened_since(world: World) -> None:
    write_pages(world)
    dataset = await world.indexed()
    version = await frozen(world.dataset, dataset.name, "v")
    first, report = await exported(world.dataset, version, "ppocrlabel", with_images=True)
    (world.folder / "a.xml").unlink()
    await world.sync(dataset.name)
    again, _ = await exported(world.dataset, version, "ppocrlabel", with_images=True)
    assert first == again
    assert (report.num_pages, report.num_boxes) == (3, 6)
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.testzip() is None
        assert archive.read("扫描 1/b c.png") == (world.folder / "扫描 1/b c.png").read_bytes()
        assert "Label.txt" in archive.namelist()
    now, report = await exported(world.dataset, dataset.name, "ppocrlabel")
    assert (report.num_pages, report.num_unlabeled) == (2, 1)
    assert now != first
    write_image(world.folder / "a.png", width_px=90)
    _, report = await exported(world.dataset, version, "ppocrlabel", with_images=True)
    assert (report.num_failed, report.num_pages) == (1, 2)
    with pytest.raises(NotFound):
        await exported(world.dataset, dataset.name + "/versions/v-00000000000000000000", "voc")


async def latest(world: World, dataset: str) -> transfer_pb2.LabelImport:
    answer = await call(world.dataset.ListLabelImports, transfer_pb2.ListLabelImportsRequest(parent=dataset, page_size=1))
    return answer.label_imports[0]
