"""Search and grep through the running dataset service, on both databases."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from inkwright.dataset.v1 import dataset_pb2, search_pb2
from libs.runtime.db import Database
from libs.runtime.errors import InvalidInput
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from services.dataset.settings import DatasetSettings
from tests.integration.conftest import Databases
from tests.integration.pictures import Bounds, write_image, write_labels
from tests.integration.test_dataset_labels import add_box
from tests.integration.world import World, dataset_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLACE: Bounds = (5, 5, 60, 20)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


def label(world: World, name: str, *texts: str) -> None:
    write_image(world.folder / f"{name}.png")
    write_labels(world.folder / f"{name}.xml", [(one, PLACE) for one in texts])


async def search(world: World, *, page_size: int = 0, **wanted: Any) -> dict[str, list[str]]:
    """Texts of the found boxes by key, over all pages."""
    request = search_pb2.SearchImagesRequest(parent=world.name, page_size=page_size, **wanted)
    found: dict[str, list[str]] = {}
    while True:
        answer = await call(world.dataset.SearchImages, request)
        assert len(answer.hits) <= (page_size or 100)
        keys = [hit.image.key for hit in answer.hits]
        assert not found.keys() & set(keys)
        found |= {hit.image.key: [box.text for box in hit.boxes] for hit in answer.hits}
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


async def test_text_is_found_in_any_spelling_and_length(world: World) -> None:
    label(world, "a", "Invoice  No. 42", "总计 ￥128.00")
    label(world, "b", "INVOICE", "合计", "ＡＢＣ")
    label(world, "c", "in voice", "ice")
    write_image(world.folder / "d.png")
    await world.indexed()
    assert await search(world, text="invoice") == {"a.png": ["Invoice  No. 42"], "b.png": ["INVOICE"]}
    assert await search(world, text="no. 42") == {"a.png": ["Invoice  No. 42"]}
    assert await search(world, text="计") == {"a.png": ["总计 ￥128.00"], "b.png": ["合计"]}
    assert await search(world, text="总计") == {"a.png": ["总计 ￥128.00"]}
    assert await search(world, text="abc") == {"b.png": ["ＡＢＣ"]}
    assert list(await search(world, text="ice")) == ["a.png", "b.png", "c.png"]
    # Every pair of it stands in a, the whole nowhere.
    assert await search(world, text="voicoi") == {}
    assert await search(world, text="nothing like it") == {}
    assert await search(world, character="Ａ") == {"b.png": ["ＡＢＣ"]}
    assert await search(world, character="A") == {}
    assert await search(world, character="总", text="128") == {"a.png": ["总计 ￥128.00"]}


async def test_every_page_size_finds_the_same(world: World) -> None:
    for number in range(7):
        label(world, f"p{number}", f"word {number}", "same")
    await world.indexed()
    for size in (1, 2, 3, 7, 100):
        assert list(await search(world, text="same", page_size=size)) == [f"p{number}.png" for number in range(7)]
        assert list(await search(world, page_size=size, min_boxes=2)) == [f"p{number}.png" for number in range(7)]


async def test_conditions_narrow_down_alone_and_together(world: World) -> None:
    label(world, "2025/a", "one")
    label(world, "2026/b", "one", "two")
    label(world, "2026x/c", "one", "two", "three")
    write_image(world.folder / "2026/d.png")
    (world.folder / "2026" / "e.png").write_bytes(b"no image at all")
    await world.indexed()
    images = await world.images(world.name)
    code = images["2026/e.png"].findings[0].code
    assert list(await search(world, folder="2026")) == ["2026/b.png", "2026/d.png", "2026/e.png"]
    assert list(await search(world, folder="/2026/", text="one")) == ["2026/b.png"]
    assert list(await search(world, finding=code)) == ["2026/e.png"]
    assert list(await search(world, min_boxes=2)) == ["2026/b.png", "2026x/c.png"]
    assert list(await search(world, min_boxes=1, max_boxes=2)) == ["2025/a.png", "2026/b.png"]
    assert list(await search(world, max_boxes=0)) == ["2026/d.png", "2026/e.png"]
    assert list(await search(world, label_state=dataset_pb2.Image.UNLABELED, state=dataset_pb2.Image.USABLE)) == ["2026/d.png"]
    at = images["2025/a.png"].update_time
    assert len(await search(world, changed_since=at)) == 5
    later = type(at)(seconds=at.seconds + 86_400)
    assert await search(world, changed_since=later) == {}


async def test_the_index_follows_every_change_of_labels(world: World) -> None:
    label(world, "a", "first")
    label(world, "b", "other")
    await world.indexed()
    images = await world.images(world.name)
    labels = await world.labels(images["a.png"])
    del labels.boxes[:]
    add_box(labels, "1", "second", (1, 1), (50, 1), (50, 20), (1, 20))
    await world.write_labels(labels)
    assert (await search(world, text="first"), list(await search(world, text="second"))) == ({}, ["a.png"])
    write_labels(world.folder / "b.xml", [("changed outside", PLACE)])
    await world.sync(world.name)
    assert (await search(world, text="other"), list(await search(world, text="outside"))) == ({}, ["b.png"])
    (world.folder / "b.xml").unlink()
    await world.sync(world.name)
    assert await search(world, text="outside") == {}
    (world.folder / "a.png").unlink()
    write_image(world.folder / "c.png")
    await world.sync(world.name)
    assert await search(world, text="second") == {}
    assert await entries(world) == 0


async def test_a_deleted_dataset_leaves_no_words(world: World) -> None:
    label(world, "a", "gone soon")
    await world.indexed()
    before = await entries(world)
    await world.delete()
    await world.purge()

    async def emptied() -> None:
        assert (before, await entries(world)) == (1, 0)

    await assert_eventually(emptied)


async def entries(world: World) -> int:
    """Of images that are there no more, and of this world's dataset."""
    database = Database(DatasetSettings(home=world.home).database_url)
    async with database.reading() as connection:
        known = "SELECT uid FROM dataset WHERE dataset_id <> :id"
        query = text(f"SELECT count(*) FROM search_entry WHERE dataset_uid NOT IN ({known})")
        found = (await connection.execute(query, {"id": world.dataset_id})).scalar_one()
    await database.close()
    return int(found)


@pytest.mark.parametrize(
    "wanted", [{"text": "x" * 201}, {"text": "  "}, {"character": "ab"}, {"finding": '%" OR 1'}], ids=["long", "spaces", "two", "code"]
)
async def test_what_means_nothing_is_refused(world: World, wanted: dict[str, Any]) -> None:
    label(world, "a", "one")
    await world.indexed()
    with pytest.raises(InvalidInput):
        await search(world, **wanted)


async def test_words_of_sql_and_of_search_are_only_text(world: World) -> None:
    label(world, "a", "'; DROP TABLE image; --", "a AND b OR NOT c NEAR * ^", '"quoted"')
    await world.indexed()
    for one in ("'; DROP TABLE image; --", "AND b OR NOT", "NEAR * ^", '"quoted"', "*", "'", "%", "_"):
        assert list(await search(world, text=one)) == ([] if one in ("%", "_") else ["a.png"])


async def grep(world: World, regex: str, *, size: int = 0, seconds: float = 0) -> tuple[list[search_pb2.GrepHit], int, int]:
    """All hits, calls it took, images gone through."""
    request = search_pb2.GrepLabelsRequest(parent=world.name, regex=regex, page_size=size, deadline_seconds=seconds)
    hits: list[search_pb2.GrepHit] = []
    num_calls = num_images = 0
    while True:
        answer = await call(world.dataset.GrepLabels, request)
        hits += answer.hits
        num_calls += 1
        num_images += answer.num_images
        request.page_token = answer.next_page_token
        if not request.page_token:
            return hits, num_calls, num_images


async def test_grep_goes_through_all_labels_in_key_order(world: World) -> None:
    for number in range(5):
        label(world, f"n{number}", f"总计 {number}23.50 元", "nothing")
    write_image(world.folder / "empty.png")
    await world.indexed()
    hits, num_calls, num_images = await grep(world, r"\d+\.\d{2}")
    assert (num_calls, num_images) == (1, 5)
    assert [(hit.key, hit.text[hit.start : hit.end]) for hit in hits] == [(f"n{number}.png", f"{number}23.50") for number in range(5)]
    assert (hits[0].start, hits[0].end) == (3, 9)
    in_pieces, num_calls, num_images = await grep(world, r"\d+\.\d{2}", size=2)
    assert (in_pieces, num_calls, num_images) == (hits, 3, 5)


async def test_a_regex_that_would_never_end_elsewhere_ends(world: World) -> None:
    label(world, "a", "a" * 200 + "b")
    await world.indexed()
    hits, _, _ = await grep(world, r"^(a+)+$")
    assert hits == []
    for refused in ("(a", r"(a)\1", "", "x" * 1001, r"((a{0,100}){0,100}){0,100}"):
        with pytest.raises(InvalidInput):
            await grep(world, refused)
    with pytest.raises(InvalidInput, match="20 seconds"):
        await grep(world, "a", seconds=21)
