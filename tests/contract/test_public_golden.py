"""The public API's answers, byte for byte. A change of a file here is a change of what callers see.

`python -m tests.contract.test_public_golden` writes them anew.
"""

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from libs.runtime.errors import Expired, ForwardFailed, ImageUndecodable, QueueFull
from libs.runtime.testing import free_port
from tests.gateway_world import DEPLOYMENT_TOKEN, FakeInstance, World, bmp, element, gateway_world, serving_instance, text_line

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "public_api"
IMAGE = bmp(40, 40)

Case = Callable[[World, FakeInstance], Awaitable[httpx.Response]]


async def one(world: World, fake: FakeInstance) -> httpx.Response:
    fake.lines = [text_line("18600000000"), text_line('Zoë 张伟 "quoted" \\ </b>', 0.5), text_line("", 1.0)]
    return await world.predict("reader", element(IMAGE, name="image"))


async def nothing_read(world: World, fake: FakeInstance) -> httpx.Response:
    fake.lines = []
    return await world.predict("reader", {"body": element(IMAGE)["body"]})


async def several(world: World, fake: FakeInstance) -> httpx.Response:
    fake.lines = [text_line("A")]
    return await world.predict("reader", element(IMAGE, name="first"), {"name": "second"}, element(IMAGE))


async def first_failed(world: World, fake: FakeInstance) -> httpx.Response:
    fake.lines = [text_line("A")]
    return await world.predict("reader", element(b"no image", name="first"), element(IMAGE, name="second"))


async def all_failed(world: World, fake: FakeInstance) -> httpx.Response:
    return await world.predict("reader", element(b"no image", name="first"), {"name": "second"})


async def no_data_array(world: World, fake: FakeInstance) -> httpx.Response:
    return await world.http.post("/api/predict/reader", content=b"{}", headers={"Authorization": DEPLOYMENT_TOKEN})


async def undecodable(world: World, fake: FakeInstance) -> httpx.Response:
    fake.fault = ImageUndecodable("The BMP is damaged and cannot be decoded; copy the file again.", problem="corrupt")
    return await world.predict("reader", element(IMAGE))


async def too_large(world: World, fake: FakeInstance) -> httpx.Response:
    return await world.predict("reader", element(bmp(1000, 400)))


async def unknown_error(world: World, fake: FakeInstance) -> httpx.Response:
    fake.fault = RuntimeError("a secret of the inside")
    return await world.predict("reader", element(IMAGE))


async def no_instance(world: World, fake: FakeInstance) -> httpx.Response:
    world.deploy("down", f"127.0.0.1:{free_port()}")
    return await world.predict("down", element(IMAGE))


async def forward_failed(world: World, fake: FakeInstance) -> httpx.Response:
    fake.fault = ForwardFailed("The model failed on this image; try another image or another model.")
    return await world.predict("reader", element(IMAGE))


async def unauthorized(world: World, fake: FakeInstance) -> httpx.Response:
    return await world.predict("reader", element(IMAGE), token="wrong")


async def not_found(world: World, fake: FakeInstance) -> httpx.Response:
    return await world.predict("nobody", element(IMAGE))


async def method_not_allowed(world: World, fake: FakeInstance) -> httpx.Response:
    return await world.http.get("/api/predict/reader")


async def timeout(world: World, fake: FakeInstance) -> httpx.Response:
    fake.fault = Expired("The image was not read in time; try again.")
    return await world.predict("reader", element(IMAGE))


async def queue_full(world: World, fake: FakeInstance) -> httpx.Response:
    fake.fault = QueueFull("The queue of this instance is full; try again in a moment.")
    return await world.predict("reader", element(IMAGE))


CASES: dict[str, tuple[int, Case]] = {
    "one": (200, one),
    "nothing_read": (200, nothing_read),
    "several": (200, several),
    "first_failed": (200, first_failed),
    "all_failed": (400, all_failed),
    "1001_no_data_array": (400, no_data_array),
    "1001_too_large": (413, too_large),
    "1002_undecodable": (400, undecodable),
    "2001_unknown": (500, unknown_error),
    "2002_no_instance": (503, no_instance),
    "2003_forward": (500, forward_failed),
    "401": (401, unauthorized),
    "404": (404, not_found),
    "405": (405, method_not_allowed),
    "408": (408, timeout),
    "450": (450, queue_full),
}


async def answer_of(case: Case, home: Path) -> httpx.Response:
    fake = FakeInstance()
    async with serving_instance(fake) as instance, gateway_world(home, predict_max_image_pixels=100_000) as world:
        world.deploy("reader", instance.address)
        return await case(world, fake)


def normalised(answer: httpx.Response) -> bytes:
    """The body with the request id and the one time that is measured here replaced."""
    body = answer.content.replace(answer.headers["X-Request-Id"].encode(), b"REQUEST-ID")
    return re.sub(rb'"totalMs":[0-9.]+', b'"totalMs":0.0', body)


@pytest.mark.parametrize("name", CASES)
async def test_the_body_is_the_golden_one(name: str, tmp_path: Path) -> None:
    status, case = CASES[name]
    answer = await answer_of(case, tmp_path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert normalised(answer) == (GOLDEN / f"{name}.json").read_bytes()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == CASES.keys()


async def _write() -> None:
    for name, (_, case) in CASES.items():
        with tempfile.TemporaryDirectory() as home:
            (GOLDEN / f"{name}.json").write_bytes(normalised(await answer_of(case, Path(home))))


if __name__ == "__main__":
    asyncio.run(_write())
