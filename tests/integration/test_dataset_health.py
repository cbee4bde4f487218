"""The health report of a folder with planted defects, figure by figure, and the normalising of its labels."""

import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from inkwright.dataset.v1 import health_pb2
from libs.ocrkit.charset import BASE_ALPHABET
from libs.runtime.errors import NotFound
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually
from services.dataset import label_actions
from services.dataset.health.report import FEW_IMAGES, RARE_BELOW, Code
from services.dataset.health.tally import BINS
from tests.integration.conftest import ON_LOCAL, Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.sick_folder import SickFolder, sick_folder
from tests.integration.world import World, dataset_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

Report = health_pb2.HealthReport


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases, storage: str) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world"), storage=storage) as running:
        yield running


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


async def surveyed(world: World, sync_number: int = 1) -> Report:
    """The report of the index that this sync left."""

    async def ready() -> Report:
        found = await call(world.dataset.GetHealthReport, health_pb2.GetHealthReportRequest(name=f"{world.name}/health"))
        assert found.state == Report.READY, found.error_message
        assert found.sync_number == sync_number
        return found

    return await assert_eventually(ready, timeout_seconds=20)


async def images_of(world: World, code: str, page_size: int = 3) -> list[health_pb2.FindingImage]:
    request = health_pb2.ListFindingImagesRequest(parent=f"{world.name}/health/findings/{code}", page_size=page_size)
    images: list[health_pb2.FindingImage] = []
    while True:
        reply = await call(world.dataset.ListFindingImages, request)
        images += reply.images
        if not reply.next_page_token:
            return images
        request.page_token = reply.next_page_token


def bins(name: str, values: list[float]) -> list[int]:
    bounds = [*BINS[name], float("inf")]
    return [sum(low <= value < high for value in values) for low, high in itertools.pairwise(bounds)]


def by_count(characters: list[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(characters, key=lambda one: (-one[1], one[0]))


async def test_every_planted_defect_is_found_and_every_figure_is_right(world: World) -> None:
    sick: SickFolder = sick_folder(world.folder)
    dataset = await world.indexed()
    report = await surveyed(world)
    content = report.content
    assert len(report.digest) == 64
    assert content.counts == dataset.counts

    found = {finding.code: finding for finding in content.findings}
    of_whole = {"FEW_IMAGES": len(sick.sizes), "ONE_CAMERA": max(map(sick.sizes.count, sick.sizes)), "ONE_ANGLE": len(with_boxes(sick))}
    assert {code: one.num_images for code, one in found.items()} == {code: len(keys) for code, keys in sick.expected.items()} | of_whole
    severities = [finding.severity for finding in content.findings]
    assert severities == sorted(severities)
    assert set(Code) - set(found) == {Code.ONE_BACKGROUND}
    for code, keys in sick.expected.items():
        images = await images_of(world, code)
        assert sorted(image.key for image in images) == keys, code
        assert [image.key for image in found[code].examples] == [image.key for image in images][:20] or code in GROUPED
        assert sorted(image.key for image in found[code].examples) == keys[:20] or code in GROUPED
        assert found[code].fix.endswith(".")
        assert found[code].name == f"{world.name}/health/findings/{code}"
    assert len(await images_of(world, "FEW_IMAGES")) == len(sick.sizes) < FEW_IMAGES

    figures = {histogram.name: list(histogram.counts) for histogram in content.histograms}
    assert figures == {
        "LONG_SIDE_PX": bins("LONG_SIDE_PX", [max(size) for size in sick.sizes]),
        "ASPECT": bins("ASPECT", [width / height for width, height in sick.sizes]),
        "BOX_HEIGHT_PX": bins("BOX_HEIGHT_PX", sick.heights),
        "TEXT_LENGTH": bins("TEXT_LENGTH", [len(text) for text in sick.texts if text]),
    }
    characters = list(sick.characters.items())
    rare = [one for one in characters if one[1] < RARE_BELOW]
    assert [(one.character, one.count) for one in content.characters] == by_count(characters)
    assert content.num_characters == len(characters)
    assert {(one.character, one.count) for one in content.rare_characters} == set(rare)
    assert [(one.character, one.count) for one in content.unknown_characters] == by_count(
        [one for one in characters if one[0] not in BASE_ALPHABET]
    )
    assert content.num_lines == sum(bool(text) for text in sick.texts)
    assert dict(content.look_alike_lines) == {"NO_BREAK_SPACE": 1}
    assert content.num_folders == len([path for path in world.folder.iterdir() if path.is_dir()])

    # Nothing moved: the same report, although it was made again.
    await call(world.dataset.RefreshHealthReport, health_pb2.RefreshHealthReportRequest(name=report.name))
    again = await surveyed(world)
    assert again.content == content
    assert again.digest == report.digest
    assert again.create_time != report.create_time
    assert {one.key for one in await images_of(world, "EMPTY_TEXT")} == {"a/empty.png"}


GROUPED = {"EXACT_DUPLICATE", "NEAR_DUPLICATE", "CROSSES_FOLDERS", "CROSSES_LABELS"}


def with_boxes(sick: SickFolder) -> list[Path]:
    labels = [path for path in sick.folder.rglob("*.xml") if "<bndbox>" in path.read_text()]
    return [path for path in labels if path.stem not in ("outside", "flat", "noxml")]


async def test_a_report_follows_its_dataset(world: World) -> None:
    write_labels(write_image(world.folder / "one.png").with_suffix(".xml"), [("", (5, 5, 50, 30))])
    await world.indexed()
    first = await surveyed(world)
    assert [finding.code for finding in first.content.findings] == ["EMPTY_TEXT", "FEW_IMAGES"]
    write_labels(world.folder / "one.xml", [("text", (5, 5, 50, 30))])
    write_image(world.folder / "two.png")
    await world.sync(world.name)
    second = await surveyed(world, 2)
    assert {finding.code for finding in second.content.findings} == {"EXACT_DUPLICATE", "CROSSES_LABELS", "RARE_CHARACTER", "FEW_IMAGES"}
    assert second.digest != first.digest
    assert not await images_of(world, "EMPTY_TEXT")


async def test_what_cannot_be_asked_is_refused(world: World) -> None:
    write_image(world.folder / "one.png")
    await world.indexed()
    await surveyed(world)
    with pytest.raises(NotFound, match="no finding NONSENSE"):
        await images_of(world, "NONSENSE")
    with pytest.raises(NotFound, match="never normalised"):
        await call(world.dataset.GetNormalization, health_pb2.GetNormalizationRequest(name=f"{world.name}/normalization"))


async def normalized(world: World) -> health_pb2.Normalization:
    await call(world.dataset.NormalizeLabels, health_pb2.NormalizeLabelsRequest(name=world.name))

    async def ended() -> health_pb2.Normalization:
        found = await call(world.dataset.GetNormalization, health_pb2.GetNormalizationRequest(name=f"{world.name}/normalization"))
        assert found.state != health_pb2.Normalization.RUNNING
        return found

    return await assert_eventually(ended, timeout_seconds=30)


async def files(world: World) -> dict[str, tuple[int, str]]:
    request = health_pb2.ListNormalizedFilesRequest(parent=f"{world.name}/normalization")
    return {file.key: (file.result, file.message) for file in (await call(world.dataset.ListNormalizedFiles, request)).files}


@ON_LOCAL
async def test_labels_are_normalised_after_a_look_and_people_keep_the_last_word(world: World) -> None:
    for key, text in (("a.png", "12\u00a0EUR"), ("b.png", "Ｔｏｔａｌ"), ("c.png", "Tоtal"), ("d.png", "plain")):
        write_labels(write_image(world.folder / key).with_suffix(".xml"), [(text, (5, 5, 110, 30)), ("same", (5, 40, 110, 70))])
    await world.indexed()
    await surveyed(world)
    preview = await call(world.dataset.PreviewNormalization, health_pb2.PreviewNormalizationRequest(parent=world.name))
    assert [(line.key, line.before, line.after, list(line.kinds)) for line in preview.lines] == [
        ("a.png", "12\u00a0EUR", "12 EUR", ["NO_BREAK_SPACE"]),
        ("b.png", "Ｔｏｔａｌ", "Total", ["WIDTH"]),
        ("c.png", "Tоtal", "Total", ["MIXED_SCRIPT"]),
    ]
    before = (world.folder / "d.xml").read_bytes()
    mine = write_labels(world.folder / "c.xml", [("Tоtal mine", (5, 5, 110, 30))]).read_bytes()

    done = await normalized(world)
    assert (done.state, done.num_files, done.num_changed, done.num_skipped) == (health_pb2.Normalization.SUCCEEDED, 3, 2, 1)
    results = await files(world)
    assert [(key, result) for key, (result, _) in results.items()] == [
        ("a.png", health_pb2.NormalizedFile.CHANGED),
        ("b.png", health_pb2.NormalizedFile.CHANGED),
        ("c.png", health_pb2.NormalizedFile.SKIPPED),
    ]
    assert "sync the dataset" in results["c.png"][1]
    assert (world.folder / "c.xml").read_bytes() == mine
    assert (world.folder / "d.xml").read_bytes() == before
    rows = await world.images(world.name)
    assert [[box.text for box in (await world.labels(rows[key])).boxes] for key in ("a.png", "b.png")] == [
        ["12 EUR", "same"],
        ["Total", "same"],
    ]
    # What was left alone is found by the next survey, and then written.
    await world.sync(world.name)
    report = await surveyed(world, 2)
    assert [image.key for image in await images_of(world, "LOOK_ALIKE")] == ["c.png"], report
    assert (await normalized(world)).num_changed == 1
    assert (await call(world.dataset.PreviewNormalization, health_pb2.PreviewNormalizationRequest(parent=world.name))).lines == []


@ON_LOCAL
async def test_a_normalising_that_died_between_a_file_and_its_row_is_taken_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a.png", "b.png"):
        write_labels(write_image(world.folder / key).with_suffix(".xml"), [("12\u00a0EUR", (5, 5, 110, 30))])
    await world.indexed()
    await surveyed(world)

    async def die(*_: object) -> None:
        raise RuntimeError("died")

    with monkeypatch.context() as patch:
        patch.setattr(label_actions, "_take_over", die)
        broken = await normalized(world)
    assert (broken.state, broken.num_changed) == (health_pb2.Normalization.FAILED, 0)
    assert "look at the dataset service's log" in broken.error_message
    written = (world.folder / "a.xml").read_bytes()
    assert b"12 EUR" in written
    done = await normalized(world)
    assert (done.state, done.num_changed, done.num_skipped) == (health_pb2.Normalization.SUCCEEDED, 2, 0)
    assert (world.folder / "a.xml").read_bytes() == written
    assert b"12 EUR" in (world.folder / "b.xml").read_bytes()
