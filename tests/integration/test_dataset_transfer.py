"""Labels of every format into a dataset and out of it."""

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from inkwright.dataset.v1 import transfer_pb2
from libs.runtime.errors import InvalidInput, NotFound
from libs.runtime.grpc_client import call
from tests.integration.conftest import ON_OSS, Databases
from tests.integration.label_trips import done, there_and_back, write_pages
from tests.integration.pictures import write_image, write_labels
from tests.integration.transfers import Outcome, State, ended, exported, frozen, told, uploaded, zipped
from tests.integration.world import World, dataset_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases, storage: str) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage=storage) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


@ON_OSS
async def test_what_goes_out_of_oss_comes_in_again(world: World) -> None:
    await there_and_back(world, "label-studio")


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
    files: dict[str, bytes | str] = {
        "gbk.xml": GBK.encode("gb18030"),
        "bomb.xml": BOMB,
        "void.xml": b"",
        "a & b?.xml": GBK,
        "good.xml": GBK,
        "../up.xml": GBK,
    }
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
    with pytest.raises(InvalidInput, match="broke off"):
        await uploaded(world.dataset, dataset.name, "Label.txt", b"a.png\t[]", complete=False)
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
