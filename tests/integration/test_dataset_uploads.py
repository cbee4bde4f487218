"""Uploads through the running service: checked, resumed, never laid over another file, in every kind of store."""

import asyncio
import hashlib
import io
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pypdfium2
import pytest
import pytest_asyncio
from PIL import Image

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, upload_pb2
from libs.runtime import local_folder
from libs.runtime.errors import Conflict, InvalidInput, NotFound, TooLarge, WrongState
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from services.dataset.uploads import worker as upload_worker
from tests.integration.conftest import ON_LOCAL, Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.uploading import Row, Upload, begin, ended, get_upload, picture, rows_of, send_chunk, sent, zipped
from tests.integration.world import PROJECT, World, dataset_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases, storage: str) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage=storage) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def world(shared: World, request: pytest.FixtureRequest) -> World:
    """A dataset of its own, empty."""
    world = shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])
    storage_type = dataset_pb2.Dataset.LOCAL if world.oss is None else dataset_pb2.Dataset.OSS
    body = dataset_pb2.Dataset(path=world.path, storage_type=storage_type)
    created = await call(
        world.dataset.CreateDataset,
        dataset_service_pb2.CreateDatasetRequest(parent=PROJECT, dataset_id=world.dataset_id, dataset=body, allow_empty=True),
    )
    assert created.state == dataset_pb2.Dataset.READY
    return world


def keys(world: World) -> list[str]:
    return sorted(str(path.relative_to(world.folder)) for path in world.folder.rglob("*") if path.is_file())


async def test_an_image_arrives_in_chunks_and_is_indexed(world: World, tmp_path: Path) -> None:
    data = picture(tmp_path)
    begun = await begin(
        world.dataset, world.name, "page.png", len(data), options=Upload(folder="2024/march", sha256=hashlib.sha256(data).hexdigest())
    )
    half = await send_chunk(world.dataset, begun.name, 0, data[:50])
    assert (half.state, half.received_bytes) == (Upload.RECEIVING, 50)
    with pytest.raises(Conflict) as refused:
        await send_chunk(world.dataset, begun.name, 0, data[:50])
    assert refused.value.metadata["received_bytes"] == "50"
    await send_chunk(world.dataset, begun.name, 50, data[50:])
    done = await ended(world.dataset, begun.name)
    assert (done.state, done.counts.num_stored) == (Upload.DONE, 1)
    assert (world.folder / "2024/march/page.png").read_bytes() == data
    await world.synced(world.name, 1)
    assert list(await world.images(world.name)) == ["2024/march/page.png"]
    with pytest.raises(WrongState):
        await send_chunk(world.dataset, begun.name, len(data), b"more")


async def test_a_taken_name_is_refused_found_or_numbered(world: World, tmp_path: Path) -> None:
    first, other = picture(tmp_path), picture(tmp_path, grey=90)
    write_image(world.folder / "page.png")
    same, rows = await sent(world.dataset, world.name, "page.png", first)
    assert (same.counts.num_already_there, rows["page.png"].result) == (1, Row.ALREADY_THERE)
    _, rows = await sent(world.dataset, world.name, "page.png", other)
    assert (rows["page.png"].result, rows["page.png"].reason) == (Row.FAILED, "ALREADY_EXISTS")
    assert (world.folder / "page.png").read_bytes() == first
    pair = zipped({"page.xml": b"<annotation/>", "page.png": other})
    _, rows = await sent(world.dataset, world.name, "pair.zip", pair, Upload(rename=True))
    assert {row.key for row in rows.values()} == {"page-2.png", "page-2.xml"}
    _, rows = await sent(world.dataset, world.name, "pair.zip", pair)
    assert {name: row.reason for name, row in rows.items()} == {"page.png": "ALREADY_EXISTS", "page.xml": "IMAGE_NOT_STORED"}
    assert keys(world) == ["page-2.png", "page-2.xml", "page.png"]


async def test_every_file_of_a_zip_has_its_row(world: World, tmp_path: Path) -> None:
    data = picture(tmp_path)
    labels = write_labels(tmp_path / "labels.xml", [("hello", (5, 5, 50, 30))]).read_bytes()
    files = {
        "scans/a.png": data,
        "scans/a.xml": labels,
        "收据/第一页.png": data,
        "../out.png": data,
        "/abs.png": data,
        "C:/drive.png": data,
        "back\\slash.png": data,
        "cut.png": data[:-30],
        "lie.jpg": b"GIF89a" + bytes(40),
        "notes.txt": b"hello",
        "more.zip": zipped({"b.png": data}),
        "phone.heic": b"\0\0\0\x18ftypheic",
        "scan.pdf": b"%PDF-1.4",
        "__MACOSX/scans/._a.png": b"x",
    }
    done, rows = await sent(world.dataset, world.name, "all.zip", zipped(files))
    assert done.state == Upload.DONE
    assert {name: row.reason for name, row in rows.items() if row.result == Row.STORED} == dict.fromkeys(
        ["scans/a.png", "scans/a.xml", "收据/第一页.png"], ""
    )
    assert {name: row.reason for name, row in rows.items() if row.result == Row.SKIPPED} == {
        "notes.txt": "NOT_AN_IMAGE",
        "more.zip": "NESTED_ZIP",
        "__MACOSX/scans/._a.png": "SYSTEM_FILE",
    }
    assert {name: row.reason for name, row in rows.items() if row.result == Row.FAILED} == {
        **dict.fromkeys(["../out.png", "/abs.png", "C:/drive.png", "back\\slash.png"], "UNSAFE_NAME"),
        "cut.png": "IMAGE_UNDECODABLE",
        "lie.jpg": "IMAGE_UNDECODABLE",
        "phone.heic": "FORMAT_NOT_READ",
        "scan.pdf": "DOCUMENT",
    }
    assert all(row.message for row in rows.values() if row.result in (Row.FAILED, Row.SKIPPED))
    assert keys(world) == ["scans/a.png", "scans/a.xml", "收据/第一页.png"]
    assert done.counts == upload_pb2.UploadCounts(num_stored=3, num_skipped=3, num_failed=8, num_done=13, num_total=13)
    failed = await call(world.dataset.ListUploadRows, upload_pb2.ListUploadRowsRequest(parent=done.name, result=Row.FAILED))
    assert len(failed.rows) == 8
    await world.synced(world.name, 1)


async def test_pages_of_documents_and_other_pictures_become_png(world: World, tmp_path: Path) -> None:
    document = pypdfium2.PdfDocument.new()
    for _ in range(2):
        document.new_page(200, 100)
    document.save(tmp_path / "scan.pdf")
    sheets = [Image.new("L", (60, 40), grey) for grey in (10, 250)]
    sheets[0].save(tmp_path / "fax.tif", save_all=True, append_images=sheets[1:])
    Image.new("RGBA", (50, 40), (255, 0, 0, 0)).save(tmp_path / "web.webp", lossless=True)
    sheets[0].save(tmp_path / "moves.gif", save_all=True, append_images=sheets[1:])
    (tmp_path / "torn.tif").write_bytes((tmp_path / "fax.tif").read_bytes()[:60])
    files = {name: (tmp_path / name).read_bytes() for name in ("scan.pdf", "fax.tif", "web.webp", "moves.gif", "torn.tif")}
    _, rows = await sent(world.dataset, world.name, "all.zip", zipped(files), Upload(split_pages=True, convert=True))
    assert {name: row.reason for name, row in rows.items()} == {
        **dict.fromkeys(["scan.pdf#page=1", "scan.pdf#page=2", "fax.tif#page=1", "fax.tif#page=2", "web.webp"], ""),
        "moves.gif": "ANIMATED",
        "torn.tif": "IMAGE_UNDECODABLE",
    }
    assert keys(world) == ["fax-p0001.png", "fax-p0002.png", "scan-p0001.png", "scan-p0002.png", "web.png"]
    with Image.open(io.BytesIO((world.folder / "scan-p0002.png").read_bytes())) as page:
        assert page.size == (556, 278)
    with Image.open(world.folder / "web.png") as converted:
        assert converted.getpixel((0, 0)) == (255, 255, 255)


@ON_LOCAL
async def test_what_cannot_be_right_is_refused_at_once(world: World, tmp_path: Path) -> None:
    for file_name, folder in (("a/b.png", ""), ("..", ""), (".hidden.png", ""), ("a.png", "../up"), ("a.png", "x//y"), ("a\n.png", "")):
        with pytest.raises(InvalidInput):
            await begin(world.dataset, world.name, file_name, 5, options=Upload(folder=folder))
    for size in (0, -1):
        with pytest.raises(InvalidInput):
            await begin(world.dataset, world.name, "a.png", size)
    with pytest.raises(TooLarge):
        await begin(world.dataset, world.name, "a.png", 1 << 50)
    with pytest.raises(NotFound):
        await begin(world.dataset, f"{PROJECT}/datasets/nobody", "a.png", 5)
    begun = await begin(world.dataset, world.name, "a.png", 5)
    with pytest.raises(TooLarge):
        await send_chunk(world.dataset, begun.name, 0, b"sixsix")
    with pytest.raises(TooLarge):
        await send_chunk(world.dataset, begun.name, 0, bytes((8 << 20) + 1))
    await call(world.dataset.DeleteUpload, upload_pb2.DeleteUploadRequest(name=begun.name))
    with pytest.raises(NotFound):
        await get_upload(world.dataset, begun.name)


@ON_LOCAL
async def test_other_bytes_than_were_meant_and_a_cut_zip_end_the_upload(world: World, tmp_path: Path) -> None:
    data = picture(tmp_path)
    wrong, _ = await sent(world.dataset, world.name, "a.png", data, Upload(sha256="0" * 64))
    assert (wrong.state, keys(world)) == (Upload.FAILED, [])
    assert hashlib.sha256(data).hexdigest() in wrong.error_message
    cut, _ = await sent(world.dataset, world.name, "a.zip", zipped({"a.png": data})[:-40])
    assert cut.state == Upload.FAILED
    assert "no whole ZIP" in cut.error_message
    assert not list((world.home / "uploads").glob("up-*"))


@ON_LOCAL
async def test_one_of_many_uploads_of_one_name_wins(world: World, tmp_path: Path) -> None:
    pictures = [picture(tmp_path, grey=grey) for grey in range(100, 106)]
    outcomes = await asyncio.gather(*(sent(world.dataset, world.name, "page.png", data) for data in pictures))
    results = [rows["page.png"].result for _, rows in outcomes]
    assert sorted(results) == [Row.STORED] + [Row.FAILED] * 5
    assert (world.folder / "page.png").read_bytes() == pictures[results.index(Row.STORED)]


@ON_LOCAL
async def test_the_same_request_goes_on_with_the_same_upload(world: World, tmp_path: Path) -> None:
    data = picture(tmp_path)
    begun = [await begin(world.dataset, world.name, "a.png", len(data), request_id="r1") for _ in range(2)]
    assert begun[0] == begun[1]
    chunks = await asyncio.gather(*(send_chunk(world.dataset, begun[0].name, 0, data) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(chunk, Upload) for chunk in chunks) == 1
    assert all(isinstance(chunk, Upload | Conflict | WrongState) for chunk in chunks)
    await ended(world.dataset, begun[0].name)
    again = await begin(world.dataset, world.name, "a.png", len(data), request_id="r1")
    assert again.name != begun[0].name


@ON_LOCAL
async def test_a_folder_that_cannot_be_written_to_is_waited_for(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(28, os.strerror(28), str(path))

    monkeypatch.setattr(upload_worker, "TROUBLE_SECONDS", 0.2)
    with monkeypatch.context() as patched:
        patched.setattr(local_folder, "_written_beside", full)
        data = picture(tmp_path)
        begun = await begin(world.dataset, world.name, "a.png", len(data))
        await send_chunk(world.dataset, begun.name, 0, data)

        async def waits() -> None:
            found = await get_upload(world.dataset, begun.name)
            assert found.state == Upload.PROCESSING
            assert "disk is full" in found.error_message

        await assert_eventually(waits)
    done = await ended(world.dataset, begun.name)
    assert (done.state, done.error_message, done.counts.num_stored) == (Upload.DONE, "", 1)
    assert (await rows_of(world.dataset, begun.name))["a.png"].key == "a.png"


@ON_LOCAL
async def test_what_nobody_goes_on_with_is_cleared_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = await begin(world.dataset, world.name, "a.png", 100)
    await send_chunk(world.dataset, begun.name, 0, b"begin")
    staged = world.home / "uploads" / begun.name.rpartition("/")[2]
    assert staged.read_bytes() == b"begin"
    monkeypatch.setattr(upload_worker, "IDLE", timedelta(0))
    monkeypatch.setattr(upload_worker, "SWEEP_SECONDS", 0.1)

    async def gone() -> None:
        reply = await call(world.dataset.ListUploads, upload_pb2.ListUploadsRequest(parent=world.name))
        assert (list(reply.uploads), staged.exists()) == ([], False)

    await assert_eventually(gone)


@ON_LOCAL
async def test_a_decoder_that_dies_is_told_on_its_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    _, rows = await sent(world.dataset, world.name, "a.tif", b"II*\0", Upload(split_pages=True))
    assert (rows["a.tif"].result, rows["a.tif"].reason) == (Row.FAILED, "IMAGE_UNDECODABLE")
    assert "exit code 1" in rows["a.tif"].message


@ON_LOCAL
async def test_demo_data_is_made_once_and_indexed(shared: World) -> None:
    request = upload_pb2.CreateDemoDatasetRequest(parent=PROJECT, num_images=4, request_id="demo-1")
    begun = await call(shared.dataset.CreateDemoDataset, request)
    assert begun.source == Upload.DEMO
    done = await ended(shared.dataset, begun.name)
    assert (done.state, done.counts.num_stored) == (Upload.DONE, 7), done
    dataset = await shared.synced(f"{PROJECT}/datasets/demo", 1)
    assert (dataset.counts.num_labeled, dataset.counts.num_unlabeled, dataset.counts.num_rejected) == (3, 1, 0)
    assert Path(dataset.path).is_relative_to(shared.roots)
    assert (await call(shared.dataset.CreateDemoDataset, request)).name == begun.name
