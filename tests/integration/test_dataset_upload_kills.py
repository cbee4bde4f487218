"""Dataset service and gateway killed in the middle of uploads, which then go on; and a large file that is never in memory."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from libs.client.rest import RestClient
from libs.client.uploads import Uploads
from libs.runtime.child import Child
from libs.runtime.grpc_client import call
from libs.runtime.testing import assert_eventually, free_port, nats_server
from tests.integration.dataset_process import DatasetProcess, dataset_process, memory_of
from tests.integration.uploading import Row, Upload, begin, ended, get_upload, picture, rows_of, send_chunk, zipped

pytestmark = pytest.mark.long

NUM_FILES = 400
LARGE_BYTES = 200 << 20


async def empty_dataset(service: DatasetProcess) -> str:
    request = dataset_service_pb2.CreateDatasetRequest(
        parent="projects/default", dataset_id="filled", dataset=dataset_pb2.Dataset(path=str(service.roots / "filled")), allow_empty=True
    )
    return (await call(service.stub.CreateDataset, request)).name


@asynccontextmanager
async def gateway(service: DatasetProcess, port: int) -> AsyncIterator[Child]:
    """A gateway before the service, in a process of its own."""
    env = {
        "INKWRIGHT_HOME": str(service.home),
        "INKWRIGHT_NATS_URL": service.nats.url,
        "INKWRIGHT_GATEWAY_ADDRESS": f"127.0.0.1:{port}",
        "INKWRIGHT_DATASET_ADDRESS": f"127.0.0.1:{service.port}",
        "INKWRIGHT_LOG_LEVEL": "warning",
    }
    child = await Child.start([sys.executable, "-m", "gateway.main"], name="gateway", env=env)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def healthy() -> None:
                try:
                    assert (await http.get("/healthz")).status_code == 200
                except httpx.TransportError as error:
                    raise AssertionError("not yet") from error

            await assert_eventually(healthy, 60)
        yield child
    finally:
        child.kill()
        await child.wait()


def rest(service: DatasetProcess, port: int) -> RestClient:
    return RestClient(f"http://127.0.0.1:{port}", (service.home / "admin.token").read_text().strip())


async def test_a_service_killed_while_it_receives_and_unpacks_goes_on(tmp_path: Path) -> None:
    files = {f"folder{number % 3}/page.{number:03}.png": picture(tmp_path, grey=number % 250) for number in range(NUM_FILES)}
    data = zipped(files)
    (tmp_path / "roots").mkdir()
    async with nats_server(tmp_path) as nats, dataset_process(tmp_path, tmp_path / "roots", nats) as service:
        name = await empty_dataset(service)
        upload = await begin(service.stub, name, "all.zip", len(data))
        half = len(data) // 2
        await send_chunk(service.stub, upload.name, 0, data[:half])
        await service.kill()
        # As if a chunk had been half written when it died.
        staged = service.home / "uploads" / upload.name.rpartition("/")[2]
        with staged.open("ab") as file:
            file.write(b"rubbish")
        await service.start()
        assert (await get_upload(service.stub, upload.name)).received_bytes == half
        await send_chunk(service.stub, upload.name, half, data[half:])
        for share in (0.1, 0.5):

            async def some(share: float = share) -> None:
                assert sum(1 for _ in (service.roots / "filled").rglob("*.png")) >= share * NUM_FILES

            await assert_eventually(some)
            await service.kill()
            await service.start()
        done = await ended(service.stub, upload.name)
        rows = await rows_of(service.stub, upload.name)
        counts = done.counts
        assert (done.state, counts.num_stored + counts.num_already_there) == (Upload.DONE, NUM_FILES)
        assert {row.source for row in rows.values() if row.result in (Row.STORED, Row.ALREADY_THERE)} == set(files)
        stored = {str(path.relative_to(service.roots / "filled")): path.read_bytes() for path in (service.roots / "filled").rglob("page.*")}
        assert stored == files

        async def synced() -> None:
            dataset = await service.get(name)
            assert dataset.sync_number
            assert dataset.counts.num_images == NUM_FILES

        await assert_eventually(synced)


async def test_a_gateway_killed_between_chunks_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "roots").mkdir()
    # Of 20 MiB: nothing of it can be packed, so that it is sent in three chunks.
    data = random.Random(0).randbytes(20 << 20)
    file = tmp_path / "noise.png"
    file.write_bytes(data)
    async with nats_server(tmp_path) as nats, dataset_process(tmp_path, tmp_path / "roots", nats) as service:
        name = await empty_dataset(service)
        port = free_port()
        safe: list[int] = []
        async with gateway(service, port) as first:

            def sent(num_bytes: int) -> None:
                safe.append(num_bytes)
                if len(safe) == 2:
                    first.kill()

            client = rest(service, port)
            sending = asyncio.create_task(asyncio.to_thread(Uploads(client, name).send, file, sent=sent))
            await first.wait()
        async with gateway(service, port):
            upload = await asyncio.wait_for(sending, 60)
            assert upload.received_bytes == len(data)
            assert [*dict.fromkeys(safe)] == [0, 8 << 20, 16 << 20, 20 << 20]
            done = await ended(service.stub, upload.name)
            (row,) = await asyncio.to_thread(lambda: list(Uploads(client, name).rows(done.name)))
        assert (done.state, row.reason) == (Upload.DONE, "IMAGE_UNDECODABLE")
        client.close()


async def test_a_large_file_is_never_in_memory(tmp_path: Path) -> None:
    (tmp_path / "roots").mkdir()
    one = picture(tmp_path)
    large = tmp_path / "large.zip"
    padding = {f"{number}.txt": os.urandom(8 << 20) for number in range(LARGE_BYTES >> 23)}
    large.write_bytes(zipped({"a.png": one, **padding}))
    del padding
    async with nats_server(tmp_path) as nats, dataset_process(tmp_path, tmp_path / "roots", nats) as service:
        name = await empty_dataset(service)
        port = free_port()
        async with gateway(service, port) as child:
            before = service.memory()
            client = rest(service, port)
            upload = await asyncio.to_thread(Uploads(client, name).send, large)
            done = await ended(service.stub, upload.name)
            client.close()
            assert (done.state, done.counts.num_stored, done.counts.num_skipped) == (Upload.DONE, 1, LARGE_BYTES >> 23)
            # Chunks and their pieces come and go; the file has 200 MiB.
            assert service.memory().peak - before.peak < 80
            assert memory_of(child.pid).peak < 300
