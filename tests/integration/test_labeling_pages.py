"""Pages over a real dataset service: opened, edited, submitted, returned, and what happens when files change meanwhile."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from libs.runtime.errors import Conflict, InvalidInput, NotFound, WrongState
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from services.labeling.boxes import BoxInvalid, BoxNotFound
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.world import World, labeling_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

State = page_pb2.Page


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> AsyncIterator[World]:
    async with labeling_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


def box(box_id: str, text: str, *, source: page_pb2.Box.Source.ValueType = page_pb2.Box.HUMAN, left: float = 10) -> page_pb2.Box:
    corners = ((left, 10), (left + 40, 10), (left + 40, 30), (left, 30))
    quad = geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in corners])
    return page_pb2.Box(box_id=box_id, quad=quad, text=text, source=source)


def create(made: page_pb2.Box) -> page_pb2.Operation:
    return page_pb2.Operation(operation_id=f"create-{made.box_id}", create_box=page_pb2.CreateBox(box=made))


def retype(box_id: str, text: str) -> page_pb2.Operation:
    return page_pb2.Operation(operation_id=f"retype-{text}", retype_box=page_pb2.RetypeBox(box_id=box_id, text=text))


async def only_page(world: World, *labels: str) -> tuple[page_pb2.Page, Path]:
    """A dataset of one image, with a label file when there are labels."""
    path = write_image(world.folder / "a.png")
    if labels:
        write_labels(path.with_suffix(".xml"), [(text, (5, 5 + 20 * row, 50, 20 + 20 * row)) for row, text in enumerate(labels)])
    await world.indexed()
    (image,) = (await world.images(world.name)).values()
    return await world.page(image), path


async def reread(world: World, page: page_pb2.Page) -> page_pb2.Page:
    return await call(world.labeling.GetPage, labeling_service_pb2.GetPageRequest(name=page.name))


def texts(page: page_pb2.Page) -> list[str]:
    return [one.text for one in page.boxes]


async def test_indexed_images_open_pages_and_label_files_are_imported(world: World) -> None:
    write_labels(write_image(world.folder / "labeled.png").with_suffix(".xml"), [("hello", (5, 5, 50, 30)), ("world", (5, 40, 50, 60))])
    write_labels(write_image(world.folder / "negative.png").with_suffix(".xml"), [])
    write_image(world.folder / "noxml.png").with_suffix(".xml").write_text("no xml")
    write_image(world.folder / "unlabeled.png", width_px=333)
    (world.folder / "broken.png").write_bytes(b"broken")
    await world.indexed()
    pages = await world.opened(world.name, 4)
    assert {key: page.state for key, page in pages.items()} == {
        "labeled.png": State.DRAFT,
        "negative.png": State.DRAFT,
        "noxml.png": State.EMPTY,
        "unlabeled.png": State.EMPTY,
    }
    assert (pages["unlabeled.png"].width_px, pages["labeled.png"].num_boxes, list(pages["labeled.png"].boxes)) == (333, 2, [])
    page = await reread(world, pages["labeled.png"])
    assert [(one.text, one.source) for one in page.boxes] == [("hello", page_pb2.Box.IMPORTED), ("world", page_pb2.Box.IMPORTED)]
    assert list(await world.pages(world.name, State.EMPTY)) == ["noxml.png", "unlabeled.png"]


async def test_pages_are_found_by_confidence_and_by_editor(world: World) -> None:
    confidences = {"a.png": [0.9, 0.4], "b.png": [0.4], "c.png": [0.95], "d.png": [0.1], "e.png": []}
    for key in confidences:
        write_image(world.folder / key)
    await world.indexed()
    opened = await world.opened(world.name, len(confidences))
    for key, values in confidences.items():
        made = [box(f"s{number}", "guess", source=page_pb2.Box.SUGGESTED, left=60 * number) for number in range(len(values))]
        for one, value in zip(made, values, strict=True):
            one.confidence = value
        if made:
            await world.apply(opened[key], *map(create, made))

    async def found(**wanted: Any) -> list[str]:
        request = labeling_service_pb2.ListPagesRequest(parent=world.name, page_size=2, **wanted)
        keys: list[str] = []
        while True:
            reply = await call(world.labeling.ListPages, request)
            keys += [page.key for page in reply.pages]
            if not reply.next_page_token:
                return keys
            request.page_token = reply.next_page_token

    assert await found(max_confidence=0.9) == ["d.png", "a.png", "b.png"]
    assert await found(max_confidence=1.0) == ["d.png", "a.png", "b.png", "c.png"]
    assert await found(max_confidence=0.0) == []
    pages = await world.pages(world.name)
    assert pages["a.png"].lowest_confidence == 0.4
    assert not pages["e.png"].HasField("lowest_confidence")
    editor = pages["a.png"].last_editor
    assert [page.last_editor for page in pages.values()] == [editor, editor, editor, editor, ""]
    assert await found(editor=editor) == ["a.png", "b.png", "c.png", "d.png"]
    assert await found(editor=editor, max_confidence=0.5, state=State.DRAFT) == ["d.png", "a.png", "b.png"]
    assert await found(editor="nobody") == []
    # What a person has accepted is no suggestion any more.
    await world.apply(opened["d.png"], retype("s0", "certain"))
    assert await found(max_confidence=0.5) == ["a.png", "b.png"]
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        await found(max_confidence=1.5)


async def test_a_submitted_page_lies_beside_its_image_and_dataset_knows(world: World) -> None:
    page, path = await only_page(world)
    page = await world.apply(page, create(box("b1", "Ann Smith")), create(box("s1", "guess", source=page_pb2.Box.SUGGESTED, left=60)))
    assert (page.state, page.sequence, page.num_boxes, page.num_suggestions) == (State.DRAFT, 2, 2, 1)
    submitted = await world.submit(page, sequence=2)
    assert (submitted.state, submitted.submitted_sequence) == (State.SUBMITTED, 2)
    xml = path.with_suffix(".xml").read_text()
    assert "Ann Smith" in xml
    assert "guess" not in xml

    async def dataset_knows() -> None:
        (image,) = (await world.images(world.name)).values()
        assert (image.label_state, image.num_boxes) == (dataset_pb2.Image.SUBMITTED, 1)
        counts = (await world.get(world.name)).counts
        assert (counts.num_labeled, counts.num_unlabeled, counts.num_boxes) == (1, 0, 1)

    await assert_eventually(dataset_knows)
    # Again: nothing changes, in the file, on the page, or in what the next sync finds.
    assert await world.submit(page) == submitted
    assert path.with_suffix(".xml").read_text() == xml
    await world.sync(world.name)
    assert await reread(world, page) == submitted
    await dataset_knows()


async def test_a_page_without_boxes_is_submitted_as_a_labelled_negative(world: World) -> None:
    page, path = await only_page(world)
    assert (await world.submit(page)).state == State.SUBMITTED
    assert "<object>" not in path.with_suffix(".xml").read_text()
    version = await call(world.dataset.FreezeDataset, dataset_service_pb2.FreezeDatasetRequest(name=world.name, request_id="f"))
    assert version.num_labeled == 1


async def test_a_returned_page_keeps_its_note_until_it_is_submitted_again(world: World) -> None:
    page, _ = await only_page(world)
    request = labeling_service_pb2.ReturnPageRequest(name=page.name, note="The name is cut off")
    with pytest.raises(WrongState):
        await call(world.labeling.ReturnPage, request)
    await world.submit(await world.apply(page, create(box("b1", "An"))))
    returned = await call(world.labeling.ReturnPage, request)
    assert (returned.state, returned.return_note) == (State.RETURNED, "The name is cut off")

    async def state_is(state: dataset_pb2.Image.LabelState.ValueType) -> None:
        (image,) = (await world.images(world.name)).values()
        assert image.label_state == state

    await assert_eventually(lambda: state_is(dataset_pb2.Image.RETURNED))
    corrected = await world.apply(page, retype("b1", "Ann"))
    assert (corrected.state, corrected.return_note) == (State.RETURNED, "The name is cut off")
    submitted = await world.submit(page)
    assert (submitted.state, submitted.return_note) == (State.SUBMITTED, "")
    await assert_eventually(lambda: state_is(dataset_pb2.Image.SUBMITTED))


async def test_operations_apply_once_and_all_or_none(world: World) -> None:
    page, _ = await only_page(world, "hello")
    first = page.boxes[0].box_id
    sent = [create(box("b1", "one")), retype(first, "hallo")]
    applied = await world.apply(page, *sent)
    assert (texts(applied), applied.sequence) == (["hallo", "one"], 3)
    assert await world.apply(page, *sent) == applied
    with pytest.raises(BoxNotFound) as caught:
        await world.apply(page, retype("b1", "two"), retype("nobody", "x"))
    assert caught.value.metadata["operation_id"] == "retype-x"
    with pytest.raises(BoxInvalid) as invalid:
        await world.apply(page, create(box("b2", "outside", left=500)))
    assert invalid.value.metadata["operation_id"] == "create-b2"
    with pytest.raises(InvalidInput):
        await world.apply(page)
    assert await reread(world, page) == applied

    request = labeling_service_pb2.ListOperationsRequest(parent=page.name, page_size=2)
    reply = await call(world.labeling.ListOperations, request)
    request.page_token = reply.next_page_token
    operations = [*reply.operations, *(await call(world.labeling.ListOperations, request)).operations]
    assert [(one.sequence, one.WhichOneof("kind")) for one in operations] == [(1, "create_box"), (2, "create_box"), (3, "retype_box")]
    assert [one.actor for one in operations] == ["label-file", "users/ann", "users/ann"]
    later = await call(world.labeling.ListOperations, labeling_service_pb2.ListOperationsRequest(parent=page.name, after_sequence=2))
    assert [one.sequence for one in later.operations] == [3]


async def test_what_cannot_be_submitted_is_refused(world: World) -> None:
    page, path = await only_page(world)
    page = await world.apply(page, create(box("b1", "")))
    with pytest.raises(BoxInvalid, match="has no text"):
        await world.submit(page)
    page = await world.apply(page, retype("b1", "Ann"))
    with pytest.raises(Conflict, match="is at operation 2"):
        await world.submit(page, sequence=1)
    assert not path.with_suffix(".xml").exists()
    with pytest.raises(NotFound):
        await reread(world, page_pb2.Page(name=f"{world.name}/pages/img_0"))


async def test_a_file_changed_outside_refreshes_a_page_without_edits(world: World) -> None:
    page, path = await only_page(world, "hello")
    write_labels(path.with_suffix(".xml"), [("hallo", (5, 5, 50, 20)), ("welt", (5, 30, 50, 50))])
    await world.sync(world.name)

    async def refreshed() -> None:
        assert texts(await reread(world, page)) == ["hallo", "welt"]

    await assert_eventually(refreshed)
    assert (await world.submit(page)).state == State.SUBMITTED


async def test_a_file_changed_outside_conflicts_with_edits_until_somebody_decides(world: World) -> None:
    other = write_image(world.folder / "b.png")
    path = write_image(world.folder / "a.png")
    xml = write_labels(path.with_suffix(".xml"), [("hello", (5, 5, 50, 20))])
    await world.indexed()
    images = await world.images(world.name)
    page = await world.page(images["a.png"])
    await world.apply(page, retype(page.boxes[0].box_id, "mine"))
    for file in (xml, other.with_suffix(".xml")):
        write_labels(file, [("theirs", (5, 5, 50, 20))])
    await world.sync(world.name)

    async def later_fact_was_heard() -> None:
        assert texts(await world.page(images["b.png"])) == ["theirs"]

    await assert_eventually(later_fact_was_heard)
    with pytest.raises(Conflict, match="changed by somebody else"):
        await world.submit(page)
    assert texts(await reread(world, page)) == ["mine"]
    assert "theirs" in xml.read_text()
    assert (await world.submit(page, overwrite=True)).state == State.SUBMITTED
    assert "mine" in xml.read_text()


async def test_pages_follow_removed_and_returned_images(world: World) -> None:
    page, path = await only_page(world)
    write_image(world.folder / "other.png")
    await world.apply(page, create(box("b1", "Ann")))
    aside = path.rename(world.roots / f"{world.dataset_id}.png")
    await world.sync(world.name)

    async def state_is(state: page_pb2.Page.State.ValueType) -> None:
        assert (await reread(world, page)).state == state

    await assert_eventually(lambda: state_is(State.CLOSED))
    with pytest.raises(WrongState):
        await world.submit(page)
    assert list(await world.opened(world.name, 1)) == ["other.png"]
    aside.rename(path)
    await world.sync(world.name)
    await assert_eventually(lambda: state_is(State.DRAFT))
    assert texts(await reread(world, page)) == ["Ann"]


async def test_another_dataset_of_the_same_name_starts_with_empty_pages(world: World) -> None:
    page, _ = await only_page(world)
    await world.apply(page, create(box("b1", "Ann")))
    await world.delete()
    await world.purge()
    await world.indexed()

    async def is_empty() -> None:
        found = await reread(world, page)
        assert (found.state, texts(found)) == (State.EMPTY, [])

    await assert_eventually(is_empty)
