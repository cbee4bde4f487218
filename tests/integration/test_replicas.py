"""Several replicas behind one channel."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import grpc

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceServicer, DatasetServiceStub, add_DatasetServiceServicer_to_server
from libs.runtime.grpc_client import call, connect, stream
from libs.runtime.grpc_interceptor import Context
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.testing import assert_eventually
from tests.trust import CREDENTIALS, TRUST

REQUEST = dataset_service_pb2.GetDatasetRequest(name="projects/default/datasets/a")
NUM_CALLERS = 8
SLOW_SECONDS = 0.7
"""As on a machine that has much else to do."""
NUM_STOPS = 10


class Replica(DatasetServiceServicer):
    """Says which one it is."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.num_done = 0

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, context: Context) -> dataset_pb2.Dataset:  # noqa: N802
        self.num_done += 1
        return dataset_pb2.Dataset(name=request.name, sync_number=self.number)

    async def ReadImage(  # noqa: N802
        self, request: dataset_service_pb2.ReadImageRequest, context: Context
    ) -> AsyncIterator[dataset_service_pb2.ReadImageResponse]:
        self.num_done += 1
        yield dataset_service_pb2.ReadImageResponse(chunk=b"a")
        yield dataset_service_pb2.ReadImageResponse(chunk=b"b")


def made(number: int) -> Replica:
    return Replica(number)  # type: ignore[abstract]


async def started(replica: Replica, address: str = "127.0.0.1:0") -> GrpcServer:
    server = GrpcServer(address, TRUST)
    server.add(add_DatasetServiceServicer_to_server, replica, dataset_service_pb2.DESCRIPTOR)
    await server.start()
    return server


async def test_calls_go_to_all_that_are_there_and_to_whoever_is_left() -> None:
    servers = [await started(made(number)) for number in range(3)]
    async with connect(",".join(server.address for server in servers), CREDENTIALS) as channel:
        stub = DatasetServiceStub(channel)

        async def answered() -> Counter[int]:
            return Counter([(await call(stub.GetDataset, REQUEST)).sync_number for _ in range(30)])

        async def all_answer() -> bool:
            return set(await answered()) == {0, 1, 2}

        await assert_eventually(all_answer)
        assert max((await answered()).values()) == 10
        for server in servers[:2]:
            await server.stop_serving()
            await server.stop(1)
        # Not one of these fails, though two of three went away a moment ago.
        assert await answered() == {2: 30}
        back = await started(made(0), servers[0].address)

        async def is_back() -> bool:
            return set(await answered()) == {0, 2}

        await assert_eventually(is_back)
        await back.stop(0)
        await servers[2].stop(0)


async def is_called_again(replica: Replica) -> None:
    before = replica.num_done
    await assert_eventually(lambda: replica.num_done > before)


async def test_a_call_on_its_way_to_a_server_that_stops_is_done_once_by_another() -> None:
    replicas = [made(number) for number in range(2)]
    stays = await started(replicas[1])
    leaves = await started(replicas[0])
    num_answered, is_over = 0, False

    async def keep_calling(channel: grpc.aio.Channel) -> None:
        nonlocal num_answered
        stub = DatasetServiceStub(channel)
        while not is_over:
            await call(stub.GetDataset, REQUEST)
            pieces = [reply.chunk async for reply in stream(stub.ReadImage, dataset_service_pb2.ReadImageRequest())]
            assert pieces == [b"a", b"b"]
            num_answered += 2

    async with connect(f"{stays.address},{leaves.address}", CREDENTIALS) as channel:
        calling = [asyncio.create_task(keep_calling(channel)) for _ in range(NUM_CALLERS)]
        for _ in range(NUM_STOPS):
            await is_called_again(replicas[0])
            await leaves.stop(5)
            leaves = await started(replicas[0], leaves.address)
        is_over = True
        await asyncio.gather(*calling)
    assert sum(replica.num_done for replica in replicas) == num_answered
    await leaves.stop(0)
    await stays.stop(0)


async def test_a_peer_that_is_slow_to_answer_is_waited_for() -> None:
    server = await started(made(0))
    host, _, port = server.address.rpartition(":")

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(4096):
            target.write(data)
        target.close()

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering.append(task)
        with closing(writer):
            await asyncio.sleep(SLOW_SECONDS)
            from_server, to_server = await asyncio.open_connection(host, int(port))
            with closing(to_server):
                await asyncio.gather(carry(reader, to_server), carry(from_server, writer), return_exceptions=True)

    answering: list[asyncio.Task[Any]] = []
    async with await asyncio.start_server(answer_late, "127.0.0.1", 0) as busy:
        address = f"127.0.0.1:{busy.sockets[0].getsockname()[1]}"
        async with connect(f"{address},{address}", CREDENTIALS) as channel:
            assert (await call(DatasetServiceStub(channel).GetDataset, REQUEST)).sync_number == 0
    # The connection to the other address may still be in its sleep.
    for task in answering:
        task.cancel()
    await asyncio.gather(*answering, return_exceptions=True)
    await server.stop(0)
