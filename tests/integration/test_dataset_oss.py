"""Datasets in OSS: what the store refuses is told where it is met, connections are tried out first, secrets stay with the operator."""

import hashlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from libs.runtime.allowed_roots import OutsideRoots
from libs.runtime.errors import Conflict, Forbidden, InvalidInput, NotFound
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.world import PROJECT, World, dataset_world
from tests.oss_server import OssServer, Trouble
from tests.oss_server.server import SECRET
from tests.oss_server.trouble import Kind

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEP = dataset_pb2.ConnectionStep


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage="oss") as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    world = shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])
    oss = server(world)
    oss.troubles, oss.denied, oss.requests = [], set(), []
    return world


def server(world: World) -> OssServer:
    assert world.oss is not None
    return world.oss


async def failed(world: World) -> dataset_pb2.Dataset:
    """The dataset once its sync has failed."""

    async def has_failed() -> dataset_pb2.Dataset:
        found = await world.get(world.name)
        assert found.state == dataset_pb2.Dataset.FAILED, found
        return found

    return await assert_eventually(has_failed)


async def tried(world: World, path: str = "", *, connection: str = "") -> dataset_pb2.ConnectionReport:
    """TestConnection."""
    storage_type = dataset_pb2.Dataset.LOCAL if path.startswith("/") else dataset_pb2.Dataset.OSS
    request = dataset_service_pb2.TestConnectionRequest(
        parent=PROJECT, storage_type=storage_type, path=path or world.path, connection=connection
    )
    report = await call(world.dataset.TestConnection, request)
    assert [step.kind for step in report.steps] == [STEP.LIST, STEP.READ_IMAGE, STEP.READ_LABELS]
    assert report.passed == all(step.result != STEP.FAILED for step in report.steps)
    assert all(bool(step.reason) == (step.result == STEP.FAILED) and step.message for step in report.steps)
    return report


def results(report: dataset_pb2.ConnectionReport) -> list[str]:
    return [STEP.Result.Name(step.result) for step in report.steps]


async def test_a_missing_right_keeps_nobody_from_creating_and_is_named_by_the_sync(world: World) -> None:
    write_image(world.folder / "a.png")
    for right in ("oss:ListObjects", "oss:GetObject"):
        server(world).denied = {right}
        if right == "oss:ListObjects":
            assert (await world.create()).connection == "default"
            assert {request.method for request in server(world).requests} <= {"GET"}
        else:
            await call(world.dataset.SyncDataset, dataset_service_pb2.SyncDatasetRequest(name=world.name))

        async def names_it(right: str = right) -> None:
            assert f"lack the right {right}" in (await failed(world)).error_message

        await assert_eventually(names_it)
    server(world).denied = set()
    assert (await world.sync(world.name)).counts.num_images == 1


async def test_a_refusal_half_way_keeps_what_was_indexed(world: World) -> None:
    for number in range(4):
        write_image(world.folder / f"i{number}.png")
    await world.indexed()
    for number in range(8):
        write_image(world.folder / f"i{number}.png", grey=100)
    server(world).troubles = [Trouble.denied(method="GET", key=f"{world.dataset_id}/i5.png", times=-1)]
    await call(world.dataset.SyncDataset, dataset_service_pb2.SyncDatasetRequest(name=world.name))
    message = (await failed(world)).error_message
    assert "oss:GetObject" in message
    assert "i5.png" in message
    assert len(await world.images(world.name)) == 4
    server(world).troubles = []
    assert (await world.sync(world.name)).counts.num_images == 8


async def test_what_vanishes_while_it_is_indexed_is_left_out(world: World) -> None:
    for number in range(3):
        write_image(world.folder / f"i{number}.png")

    def vanish(_request: object) -> None:
        (world.folder / "i1.png").unlink()

    server(world).troubles = [Trouble(Kind.FIRST, happens=vanish, method="GET", key=f"{world.dataset_id}/i1.png")]
    assert (await world.indexed()).state == dataset_pb2.Dataset.READY
    assert sorted(await world.images(world.name)) == ["i0.png", "i2.png"]


async def test_a_store_with_too_much_to_do_is_waited_for(world: World) -> None:
    for number in range(10):
        write_labels(write_image(world.folder / f"i{number}.png").with_suffix(".xml"), [("x", (5, 5, 50, 30))])
    server(world).troubles = [
        Trouble.throttled(times=2),
        Trouble.broken(after=3, times=2),
        Trouble(Kind.CUT, after=6, times=2),
        Trouble(Kind.UNHEARD, after=9, times=2),
    ]
    assert (await world.indexed()).counts.num_labeled == 10
    assert all(trouble.times == 0 for trouble in server(world).troubles)


async def test_an_empty_prefix_is_told_as_one(world: World) -> None:
    await world.create()
    assert "holds no JPG, PNG or BMP image" in (await failed(world)).error_message


async def test_a_connection_is_tried_without_writing(world: World) -> None:
    write_image(world.folder / "a.png")
    write_labels(write_image(world.folder / "b.jpg").with_suffix(".xml"), [("x", (5, 5, 50, 30)), ("y", (5, 40, 50, 70))])
    report = await tried(world)
    assert results(report) == ["OK", "OK", "OK"]
    listed, read, labels = (step.message for step in report.steps)
    assert listed == "2 images, 1 of them with label files, among 3 files."
    assert read.startswith("b.jpg: ")
    assert read.endswith(" 120 x 80 pixels.")
    assert labels == "b.xml: 2 boxes."
    assert {request.method for request in server(world).requests} == {"GET", "HEAD"}
    with pytest.raises(NotFound):
        await world.get(world.name)
    await world.indexed()
    request = dataset_service_pb2.TestDatasetConnectionRequest(name=world.name)
    again = await call(world.dataset.TestDatasetConnection, request)
    assert [step.message for step in again.steps] == [listed, read, labels]
    (world.folder / "b.xml").unlink()
    assert results(await tried(world)) == ["OK", "OK", "SKIPPED"]
    assert results(await tried(world, str(world.folder))) == ["OK", "OK", "SKIPPED"]


async def test_a_failed_step_says_what_to_do(world: World) -> None:
    async def failure(path: str = "", **more: str) -> tuple[list[str], str, str]:
        report = await tried(world, path, **more)
        step = next(step for step in report.steps if step.result == STEP.FAILED)
        return results(report), step.reason, step.message

    found, reason, message = await failure()
    assert (found, reason) == (["FAILED", "SKIPPED", "SKIPPED"], "NO_IMAGES")
    assert "among 0 files" in message
    write_labels(write_image(world.folder / "a.png").with_suffix(".xml"), [("x", (5, 5, 50, 30))])
    server(world).denied = {"oss:GetObject"}
    found, reason, message = await failure()
    assert (found, reason) == (["OK", "FAILED", "SKIPPED"], "STORE_FORBIDDEN")
    assert "oss:GetObject" in message
    server(world).denied = {"oss:ListObjects"}
    assert (await failure())[:2] == (["FAILED", "SKIPPED", "SKIPPED"], "STORE_FORBIDDEN")
    server(world).denied = set()
    (world.folder / "a.xml").write_text("no xml")
    assert (await failure())[:2] == (["OK", "OK", "FAILED"], "LABEL_UNREADABLE")
    (world.folder / "a.png").write_bytes(b"no image")
    assert (await failure())[:2] == (["OK", "FAILED", "SKIPPED"], "IMAGE_UNDECODABLE")
    server(world).troubles = [Trouble.throttled(times=-1)]
    assert (await failure())[1] == "STORE_UNAVAILABLE"
    server(world).troubles = []
    assert (await failure("oss://no-such-bucket/"))[1] == "PATH_NOT_FOUND"
    assert (await failure(f"{world.folder}/nowhere"))[1] == "PATH_NOT_FOUND"
    assert (await failure("/etc"))[1] == "OUTSIDE_ROOTS"
    assert (await failure(connection="other"))[1] == "INVALID_INPUT"


async def test_a_dataset_names_a_connection_and_keeps_within_its_roots(world: World) -> None:
    with pytest.raises(InvalidInput, match="no OSS connection 'other'; name one of: default, narrow"):
        await world.create(connection="other")
    for path in (world.path, "oss://images/", "oss://images/narrower/", "oss://other/narrow/"):
        with pytest.raises(OutsideRoots, match="narrow"):
            await world.create(path=path, connection="narrow")
    write_image(world.roots / "narrow" / world.dataset_id / "a.png")
    created = await world.create(path=f"oss://images/narrow/{world.dataset_id}", connection="narrow")
    assert created.connection == "narrow"
    assert (await world.synced(world.name, 1)).counts.num_images == 1


@pytest.mark.parametrize(
    "path", ["oss://", "oss:///a/", "oss://images/../other/", "oss://images/a/./b/", "oss://images//a/", "oss://Images/"]
)
async def test_a_path_that_is_no_place_in_oss_is_refused(world: World, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await world.create(path=path)
    assert caught.value.reason == "INVALID_INPUT"


async def test_secrets_are_neither_kept_nor_told(world: World) -> None:
    write_image(world.folder / "a.png")
    dataset = await world.indexed()
    server(world).accounts["LTAItest"].secret = "another"
    try:
        report = await tried(world)
    finally:
        server(world).accounts["LTAItest"].secret = SECRET
    assert "does not accept the credentials" in report.steps[0].message
    assert SECRET not in str(report) + str(dataset)
    files = [path for path in [*world.home.rglob("*"), *world.nats.folder.glob("store/**/*")] if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


async def test_a_label_file_in_oss_that_somebody_else_writes_meanwhile_stays(world: World) -> None:
    write_image(world.folder / "a.png")
    await world.indexed()
    (image,) = (await world.images(world.name)).values()
    labels = await world.labels(image)

    def theirs(_request: object) -> None:
        write_labels(world.folder / "a.xml", [("theirs", (5, 5, 50, 30))])

    server(world).troubles = [Trouble(Kind.FIRST, happens=theirs, method="PUT")]
    with pytest.raises(Conflict):
        await world.write_labels(labels)
    assert "theirs" in (world.folder / "a.xml").read_text()
    server(world).troubles = []
    server(world).denied = {"oss:PutObject"}
    (world.folder / "a.xml").unlink()
    with pytest.raises(Forbidden, match="oss:PutObject") as caught:
        await world.write_labels(labels)
    assert caught.value.reason == "STORE_FORBIDDEN"
