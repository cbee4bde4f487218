"""Several replicas behind one channel."""

from collections import Counter

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceServicer, DatasetServiceStub, add_DatasetServiceServicer_to_server
from libs.runtime.grpc_client import call, connect
from libs.runtime.grpc_interceptor import Context
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.testing import assert_eventually
from tests.trust import CREDENTIALS, TRUST

REQUEST = dataset_service_pb2.GetDatasetRequest(name="projects/default/datasets/a")


class Replica(DatasetServiceServicer):
    """Says which one it is."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, context: Context) -> dataset_pb2.Dataset:  # noqa: N802
        return dataset_pb2.Dataset(name=request.name, sync_number=self.number)


async def started(number: int, address: str = "127.0.0.1:0") -> GrpcServer:
    server = GrpcServer(address, TRUST)
    server.add(add_DatasetServiceServicer_to_server, Replica(number), dataset_service_pb2.DESCRIPTOR)  # type: ignore[abstract]
    await server.start()
    return server


async def test_calls_go_to_all_that_are_there_and_to_whoever_is_left() -> None:
    servers = [await started(number) for number in range(3)]
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
        back = await started(0, servers[0].address)

        async def is_back() -> bool:
            return set(await answered()) == {0, 2}

        await assert_eventually(is_back)
        await back.stop(0)
        await servers[2].stop(0)
