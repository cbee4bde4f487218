"""Image bytes and label files through the dataset service."""

import hashlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import select

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2
from libs.runtime.db import Database
from libs.runtime.errors import Conflict, InvalidInput, WrongState
from services.dataset.settings import DatasetSettings
from services.dataset.store import METADATA
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.world import World, dataset_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases, storage: str) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage=storage) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


async def only_image(world: World) -> dataset_pb2.Image:
    dataset = await world.indexed()
    (image,) = (await world.images(dataset.name)).values()
    return image


async def replaced_files(world: World) -> list[bytes]:
    database = Database(DatasetSettings(home=world.home).database_url)
    replaced = METADATA.tables["replaced_labels"]
    query = select(replaced.c.data).where(replaced.c.dataset == world.name).order_by(replaced.c.replace_time)
    async with database.reading() as connection:
        found = list((await connection.execute(query)).scalars())
    await database.close()
    return found


def add_box(labels: dataset_pb2.ImageLabels, box_id: str, text: str, *corners: tuple[float, float]) -> None:
    labels.boxes.add(box_id=box_id, text=text).quad.points.extend(geometry_pb2.Point(x=x, y=y) for x, y in corners)


async def test_image_bytes_come_as_stored_and_only_the_indexed_ones(world: World) -> None:
    # Larger than one piece of the stream.
    path = write_image(world.folder / "a.bmp", width_px=800, height_px=600)
    image = await only_image(world)
    assert await world.read(image, store_etag=image.store_etag) == path.read_bytes()
    write_image(world.folder / "a.bmp", width_px=100)
    # By reason: other services have a fault of this reason as well, and a process that knows both may make either of it.
    with pytest.raises(Conflict) as caught:
        await world.read(image, store_etag=image.store_etag)
    assert caught.value.reason == "IMAGE_CHANGED"
    assert await world.read(image) == path.read_bytes()


async def test_labels_are_read_as_they_are_now(world: World) -> None:
    path = write_image(world.folder / "a.png")
    image = await only_image(world)
    empty = await world.labels(image)
    assert (list(empty.boxes), empty.file_etag, empty.width_px) == ([], "", 120)
    write_labels(path.with_suffix(".xml"), [("hello", (5, 5, 50, 30))])
    found = await world.labels(image)
    (box,) = found.boxes
    assert (box.text, box.box_id, [(point.x, point.y) for point in box.quad.points]) == (
        "hello",
        "f1",
        [(5, 5), (50, 5), (50, 30), (5, 30)],
    )
    assert found.file_etag
    path.with_suffix(".xml").write_text("no xml")
    broken = await world.labels(image)
    assert [finding.code for finding in broken.findings] == ["LABEL_UNREADABLE"]
    assert broken.file_etag


async def test_a_new_label_file_is_written_beside_the_image(world: World) -> None:
    write_image(world.folder / "p" / "a.png")
    image = await only_image(world)
    labels = await world.labels(image)
    add_box(labels, "b1", "Grüße & <mehr>", (10, 10), (60, 14), (59, 30), (9, 26))
    add_box(labels, "b2", "", (5, 50), (50, 50), (50, 70), (5, 70))
    labels.boxes[1].unreadable = True
    written = await world.write_labels(labels)
    assert (world.folder / "p" / "a.xml").exists()
    assert written.boxes == labels.boxes
    assert (await world.labels(image)) == written
    # The row knows already, so the next sync finds nothing new.
    (row,) = (await world.images(world.name)).values()
    assert (row.label_state, row.num_boxes, row.label_key) == (dataset_pb2.Image.LABELED, 2, "p/a.xml")
    synced = await world.sync(world.name)
    assert (await world.images(synced.name))["p/a.png"] == row
    assert (synced.counts.num_labeled, synced.counts.num_boxes) == (1, 2)
    # Saying the same again is fine, whatever tag it goes back to.
    content = (world.folder / "p" / "a.xml").read_bytes()
    assert await world.write_labels(labels) == written
    assert (world.folder / "p" / "a.xml").read_bytes() == content
    assert await replaced_files(world) == []


async def test_an_existing_file_is_replaced_with_its_unknown_elements_and_kept(world: World) -> None:
    path = write_image(world.folder / "a.png")
    xml = write_labels(path.with_suffix(".xml"), [("hello", (5, 5, 50, 30))], extra="<weather>rain</weather>\n")
    old = xml.read_bytes()
    image = await only_image(world)
    labels = await world.labels(image)
    labels.boxes[0].text = "goodbye"
    written = await world.write_labels(labels)
    assert (written.boxes[0].text, written.file_etag != labels.file_etag) == ("goodbye", True)
    assert "<weather>rain</weather>" in xml.read_text()
    assert await replaced_files(world) == [old]


async def test_a_file_somebody_else_changed_is_not_replaced(world: World) -> None:
    path = write_image(world.folder / "a.png")
    image = await only_image(world)
    none = await world.labels(image)
    xml = write_labels(path.with_suffix(".xml"), [("theirs", (5, 5, 50, 30))])
    add_box(none, "b", "mine", (5, 5), (50, 5), (50, 30), (5, 30))
    with pytest.raises(Conflict, match=r"a\.xml was changed by somebody else"):
        await world.write_labels(none)
    labels = await world.labels(image)
    write_labels(xml, [("theirs again", (5, 5, 50, 30))])
    labels.boxes[0].text = "mine"
    with pytest.raises(Conflict):
        await world.write_labels(labels)
    assert "theirs again" in xml.read_text()


async def test_a_file_that_is_no_xml_is_replaced_and_kept(world: World) -> None:
    path = write_image(world.folder / "a.png")
    path.with_suffix(".xml").write_text("no xml")
    image = await only_image(world)
    labels = await world.labels(image)
    written = await world.write_labels(dataset_pb2.ImageLabels(name=labels.name, file_etag=labels.file_etag))
    assert (list(written.boxes), list(written.findings)) == ([], [])
    assert await replaced_files(world) == [b"no xml"]


async def test_what_cannot_be_written_is_refused(world: World) -> None:
    write_image(world.folder / "a.png")
    (world.folder / "broken.png").write_bytes(b"broken")
    dataset = await world.indexed()
    images = await world.images(dataset.name)
    with pytest.raises(WrongState, match="cannot be labelled"):
        await world.labels(images["broken.png"])
    labels = await world.labels(images["a.png"])
    add_box(labels, "b", "one\x01two", (5, 5), (50, 5), (50, 30), (5, 30))
    with pytest.raises(InvalidInput, match="control characters"):
        await world.write_labels(labels)
    assert not (world.folder / "a.xml").exists()
