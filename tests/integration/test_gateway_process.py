"""The gateway behind a real port: limits while reading, graceful stop, its own process."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.runtime.child import Child
from libs.runtime.testing import NatsServer, assert_eventually, free_port, nats_server
from tests.gateway_world import DEPLOYMENT_TOKEN, FakeInstance, bmp, element, serving_instance
from tests.integration.gateway_running import Installation, running_gateway

IMAGE = bmp(40, 40)
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    (tmp_path / "nats").mkdir()
    async with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def installation(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Installation]:
    async with running_gateway(nats, tmp_path / "home", predict_max_body_bytes=1_000_000) as found:
        yield found


async def send_forever(url: str, *headers: str) -> tuple[bytes, int]:
    """Send a chunked body without end until an answer comes; gives its first line and the bytes sent by then."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = ["POST /api/predict/reader HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", *headers, "", ""]
    writer.write("\r\n".join(head).encode())
    answer = asyncio.create_task(reader.readline())
    num_sent = 0
    while not answer.done():
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()
        num_sent += 0x10000
        await asyncio.sleep(0)
    writer.close()
    return answer.result(), num_sent


async def test_a_body_without_end_is_answered_at_its_limit(installation: Installation) -> None:
    await installation.deploy("reader")
    await installation.until_status("reader", IMAGE, 503)
    line, _ = await asyncio.wait_for(send_forever(installation.url, f"Authorization: {DEPLOYMENT_TOKEN}"), 20)
    assert line.startswith(b"HTTP/1.1 413")


async def test_a_stranger_is_answered_before_the_body_is_there(installation: Installation) -> None:
    await installation.deploy("reader")
    await installation.until_status("reader", IMAGE, 503)
    host, _, port = installation.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/predict/reader HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\nAuthorization: wrong\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 401")
    writer.close()


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-www-form-urlencoded", "application/octet-stream", "text/plain; charset=x", None]
)
async def test_the_content_type_does_not_matter(installation: Installation, content_type: str | None) -> None:
    async with serving_instance(FakeInstance()) as instance:
        await installation.deploy("reader", instance.address)
        await installation.until_status("reader", IMAGE, 200)
        body = httpx.Response(200, json={"dataArray": [element(IMAGE)]}).content
        for authorization in (DEPLOYMENT_TOKEN, f"Bearer {DEPLOYMENT_TOKEN}"):
            headers = {"Authorization": authorization} | ({"Content-Type": content_type} if content_type else {})
            answer = await installation.http.post("/api/predict/reader", content=body, headers=headers)
            assert (answer.status_code, answer.headers["X-Model-Version"]) == (200, "d1" * 32)


async def test_a_request_in_flight_is_finished_before_the_gateway_goes(installation: Installation) -> None:
    fake = FakeInstance()
    async with serving_instance(fake) as instance:
        await installation.deploy("reader", instance.address)
        await installation.until_status("reader", IMAGE, 200)
        fake.gate.clear()
        call = asyncio.create_task(installation.predict("reader", IMAGE))
        await assert_eventually(lambda: fake.num_at_once == 1)
        installation.stop.set()

        async def refused() -> bool:
            async with httpx.AsyncClient(base_url=installation.url) as other:
                try:
                    await other.get("/healthz")
                except httpx.TransportError:
                    return True
            return False

        await assert_eventually(refused)
        fake.gate.set()
        assert (await call).status_code == 200
        await installation.task


async def test_the_process_starts_from_its_environment_and_stops_on_sigterm(nats: NatsServer, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    env = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "protos" / "gen")]),
        "INKWRIGHT_HOME": str(tmp_path / "home"),
        "INKWRIGHT_NATS_URL": nats.url,
        "INKWRIGHT_GATEWAY_ADDRESS": address,
    }
    logged: list[str] = []
    child = await Child.start([sys.executable, "-m", "gateway.main"], name="gateway", env=env, cwd=ROOT, log_line=logged.append)
    async with httpx.AsyncClient(base_url=f"http://{address}") as http:

        async def healthy() -> None:
            try:
                answer = await http.get("/healthz")
            except httpx.TransportError as error:
                raise AssertionError("\n".join(logged)) from error
            assert answer.json() == {"status": "serving", "bus": "connected"}

        await assert_eventually(healthy, 20)
        token = (tmp_path / "home" / "admin.token").read_text().strip()
        answer = await http.get("/v1/projects/default/datasets", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "NO_READY_INSTANCE")
    os.kill(child.pid, signal.SIGTERM)
    exit = await asyncio.wait_for(child.wait(), 15)
    assert exit.ok, "\n".join(logged)
    assert token not in "\n".join(logged)
