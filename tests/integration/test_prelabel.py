"""Runs of a model over empty pages, against a dataset service, with inference and its instances played by the test."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
import pytest_asyncio

from inkwright.common.v1 import geometry_pb2
from inkwright.inference.v1 import inference_service_pb2, instance_service_pb2
from inkwright.inference.v1.inference_service_pb2_grpc import InferenceServiceServicer, add_InferenceServiceServicer_to_server
from inkwright.inference.v1.instance_service_pb2_grpc import InstanceServiceServicer, add_InstanceServiceServicer_to_server
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from libs.runtime.errors import ImageUndecodable, NoReadyInstance, NotFound, QueueFull
from libs.runtime.grpc_client import call
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.names import InvalidName
from libs.runtime.testing import assert_eventually
from services.labeling.domain import Page
from services.labeling.peers import Peers
from services.labeling.runner import MAX_TRIES
from tests.integration.conftest import Databases
from tests.integration.pictures import write_image, write_labels
from tests.integration.world import World, dataset_world, with_labeling
from tests.trust import TRUST

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "projects/default/models/base"
Context = grpc.aio.ServicerContext[Any, Any]


class Instance(InstanceServiceServicer):
    """Reads one line on every image, "width x height"; the test may hold it back or let it fail."""

    def __init__(self) -> None:
        self.server = GrpcServer("127.0.0.1:0", TRUST)
        self.server.add(add_InstanceServiceServicer_to_server, self, instance_service_pb2.DESCRIPTOR)
        self.allowed = asyncio.Event()
        self.allowed.set()
        self.faults: list[Exception] = []
        self.num_calls = 0
        self.num_at_once = 0
        self.most_at_once = 0

    async def Predict(self, request: instance_service_pb2.PredictRequest, context: Context) -> instance_service_pb2.PredictResponse:  # noqa: N802
        self.num_calls += 1
        self.num_at_once += 1
        self.most_at_once = max(self.most_at_once, self.num_at_once)
        try:
            await self.allowed.wait()
            if self.faults:
                raise self.faults.pop()
        finally:
            self.num_at_once -= 1
        corners = ((10, 10), (60, 10), (60, 30), (10, 30))
        quad = geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in corners])
        line = instance_service_pb2.TextLine(text=f"{len(request.image)} bytes", confidence=0.75, quad=quad)
        return instance_service_pb2.PredictResponse(lines=[line], width_px=120, height_px=80)


class Inference(InferenceServiceServicer):
    """Hands out the instance the test names."""

    def __init__(self) -> None:
        self.server = GrpcServer("127.0.0.1:0", TRUST)
        self.server.add(add_InferenceServiceServicer_to_server, self, inference_service_pb2.DESCRIPTOR)
        self.instance: Instance | None = None
        self.num_not_ready = 0
        self.asked: list[str] = []

    async def AcquireSuggestionInstance(  # noqa: N802
        self, request: inference_service_pb2.AcquireSuggestionInstanceRequest, context: Context
    ) -> inference_service_pb2.AcquireSuggestionInstanceResponse:
        self.asked.append(request.model)
        if request.model not in ("", BASE):
            raise NotFound(f"There is no model {request.model}.", model=request.model)
        if self.num_not_ready or self.instance is None:
            self.num_not_ready -= 1
            raise NoReadyInstance("The instance is starting; call again.")
        return inference_service_pb2.AcquireSuggestionInstanceResponse(endpoint=self.instance.server.address, model=BASE)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> AsyncIterator[World]:
    async with dataset_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(shared: World, request: pytest.FixtureRequest) -> World:
    return shared.apart("d" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12])


@pytest_asyncio.fixture(loop_scope="module")
async def inference(world: World) -> AsyncIterator[Inference]:
    """Inference with a ready instance, and a labeling service that asks it."""
    played = Inference()  # type: ignore[abstract]  # labeling calls no other method
    await played.server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(played.server.stop, 0)
        played.instance = await started(stack)
        await stack.enter_async_context(with_labeling(world, inference_address=played.server.address))
        yield played


async def started(stack: AsyncExitStack) -> Instance:
    instance = Instance()
    await instance.server.start()
    stack.push_async_callback(instance.server.stop, 0)
    return instance


async def begin(world: World, *, model: str = "", request_id: str = "") -> page_pb2.Prelabel:
    body = page_pb2.Prelabel(model=model)
    request = labeling_service_pb2.CreatePrelabelRequest(parent=world.name, prelabel=body, request_id=request_id)
    return await call(world.labeling.CreatePrelabel, request)


async def get(world: World, run: page_pb2.Prelabel) -> page_pb2.Prelabel:
    return await call(world.labeling.GetPrelabel, labeling_service_pb2.GetPrelabelRequest(name=run.name))


async def ended(world: World, run: page_pb2.Prelabel) -> page_pb2.Prelabel:
    async def is_over() -> page_pb2.Prelabel:
        found = await get(world, run)
        assert found.state != page_pb2.Prelabel.RUNNING, found
        return found

    return await assert_eventually(is_over, timeout_seconds=20)


async def full_page(world: World, key: str) -> page_pb2.Page:
    return await world.page((await world.images(world.name))[key])


async def test_empty_pages_get_suggestions_and_no_other_page_is_touched(world: World, inference: Inference) -> None:
    for number in range(6):
        write_image(world.folder / f"{number}.png")
    write_labels(write_image(world.folder / "labeled.png").with_suffix(".xml"), [("hello", (5, 5, 50, 30))])
    write_labels(write_image(world.folder / "negative.png").with_suffix(".xml"), [])
    await world.indexed()
    inference.num_not_ready = 1
    assert inference.instance is not None
    inference.instance.faults = [QueueFull("The queue is full."), ImageUndecodable("It cannot be decoded.")]

    # At once, while pages are still being opened.
    run = await begin(world, request_id="once")
    assert (await begin(world, request_id="once")).name == run.name
    done = await ended(world, run)
    assert (done.state, done.error_message, done.model) == (page_pb2.Prelabel.SUCCEEDED, "", BASE)
    assert (done.num_images, done.num_done, done.num_failed, done.num_boxes) == (6, 6, 1, 5)
    assert inference.instance.most_at_once <= 2

    pages = await world.pages(world.name)
    assert sum(page.num_suggestions for page in pages.values()) == 5
    assert sum(page.state == page_pb2.Page.EMPTY for page in pages.values()) == 1
    assert [pages[key].num_suggestions for key in ("labeled.png", "negative.png")] == [0, 0]
    key = next(key for key, page in pages.items() if page.num_suggestions)
    (box,) = (await full_page(world, key)).boxes
    size = (world.folder / key).stat().st_size
    assert (box.text, box.source, box.confidence, box.model) == (f"{size} bytes", page_pb2.Box.SUGGESTED, 0.75, BASE)

    # A second run finds only what is still empty.
    again = await ended(world, await begin(world, model=BASE))
    assert (again.num_images, again.num_boxes) == (1, 1)
    listed = await call(world.labeling.ListPrelabels, labeling_service_pb2.ListPrelabelsRequest(parent=world.name))
    assert [one.name for one in listed.prelabels] == [again.name, run.name]


async def test_a_person_who_was_faster_wins(world: World, inference: Inference) -> None:
    write_image(world.folder / "a.png")
    await world.indexed()
    assert inference.instance is not None
    inference.instance.allowed.clear()
    run = await begin(world)
    instance = inference.instance
    await assert_eventually(lambda: instance.num_at_once == 1)
    corners = ((5, 5), (50, 5), (50, 30), (5, 30))
    mine = page_pb2.Box(box_id="b", text="mine", quad=geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in corners]))
    operation = page_pb2.Operation(operation_id="o", create_box=page_pb2.CreateBox(box=mine))
    await world.apply(await full_page(world, "a.png"), operation)
    inference.instance.allowed.set()
    done = await ended(world, run)
    assert (done.num_done, done.num_boxes) == (1, 0)
    assert [box.text for box in (await full_page(world, "a.png")).boxes] == ["mine"]


async def test_a_run_goes_on_with_another_instance_when_its_own_is_lost(world: World, inference: Inference) -> None:
    for number in range(4):
        write_image(world.folder / f"{number}.png")
    await world.indexed()
    lost = inference.instance
    assert lost is not None
    lost.allowed.clear()
    run = await begin(world)
    await assert_eventually(lambda: lost.num_at_once == 2)
    async with AsyncExitStack() as stack:
        inference.instance = await started(stack)
        await lost.server.stop(0)
        done = await ended(world, run)
        assert (done.state, done.num_done, done.num_failed, done.num_boxes) == (page_pb2.Prelabel.SUCCEEDED, 4, 0, 4)
        # Asked again and again, so that the instance is not stopped as idle.
        assert len(inference.asked) >= 2


async def test_a_dataset_service_that_is_away_says_nothing_against_an_image(
    world: World, inference: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(world.folder / "0.png")
    await world.indexed()
    read_image, num_away = Peers.read_image, 3 * MAX_TRIES

    async def away_for_a_while(self: Peers, page: Page) -> bytes:
        nonlocal num_away
        if num_away:
            num_away -= 1
            raise NoReadyInstance("The dataset service cannot be reached.")
        return await read_image(self, page)

    monkeypatch.setattr(Peers, "read_image", away_for_a_while)
    done = await ended(world, await begin(world))
    assert (done.state, done.num_done, done.num_failed, done.num_boxes) == (page_pb2.Prelabel.SUCCEEDED, 1, 0, 1)
    assert num_away == 0


async def test_a_run_goes_on_after_a_restart(world: World) -> None:
    for number in range(3):
        write_image(world.folder / f"{number}.png")
    await world.indexed()
    inference = Inference()  # type: ignore[abstract]  # labeling calls no other method
    await inference.server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(inference.server.stop, 0)
        instance = inference.instance = await started(stack)
        instance.allowed.clear()
        async with with_labeling(world, inference_address=inference.server.address):
            run = await begin(world)
            await assert_eventually(lambda: instance.num_at_once == 2)
        instance.allowed.set()
        async with with_labeling(world, inference_address=inference.server.address):
            done = await ended(world, run)
            assert (done.state, done.num_images, done.num_done, done.num_boxes) == (page_pb2.Prelabel.SUCCEEDED, 3, 3, 3)


async def test_runs_that_cannot_be_carried_out_say_why(world: World, inference: Inference) -> None:
    write_image(world.folder / "a.png")
    await world.indexed()
    unknown = await ended(world, await begin(world, model="projects/default/models/nobody"))
    assert (unknown.state, unknown.error_message) == (page_pb2.Prelabel.FAILED, "There is no model projects/default/models/nobody.")
    inference.instance = None
    late = await ended(world, await begin(world))
    assert late.state == page_pb2.Prelabel.FAILED
    assert "No instance for suggestions was ready within 1 s" in late.error_message
    with pytest.raises(InvalidName):
        await begin(world, model="base")
    world.dataset_id = "nobody"
    with pytest.raises(NotFound):
        await begin(world)
