"""Who gets through to a service: mutual TLS, access tokens, and the line that its log has of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from pydantic import ValidationError

from deploy import probe
from deploy.certs import make_certificates
from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceServicer, DatasetServiceStub, add_DatasetServiceServicer_to_server
from libs.runtime import call_context
from libs.runtime.caller import Caller
from libs.runtime.errors import Forbidden, NoReadyInstance, NotFound, Unauthenticated
from libs.runtime.grpc_client import call, connect
from libs.runtime.grpc_interceptor import Context
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.tls import Tls
from libs.runtime.trust import Credentials, Trust
from services.dataset.settings import DatasetSettings
from tests.trust import CREDENTIALS, TRUST, credentials_of

REQUEST = dataset_service_pb2.GetDatasetRequest(name="projects/default/datasets/a")


class Datasets(DatasetServiceServicer):
    """Remembers who called."""

    def __init__(self) -> None:
        self.callers: list[Caller | None] = []
        self.changes: list[call_context.Change | None] = []

    async def GetDataset(self, request: dataset_service_pb2.GetDatasetRequest, context: Context) -> dataset_pb2.Dataset:  # noqa: N802
        self.callers.append(call_context.caller.get())
        self.changes.append(call_context.change.get())
        return dataset_pb2.Dataset(name=request.name)

    async def SyncDataset(self, request: dataset_service_pb2.SyncDatasetRequest, context: Context) -> dataset_pb2.Dataset:  # noqa: N802
        self.changes.append(call_context.change.get())
        return dataset_pb2.Dataset(name=request.name)


async def serving(datasets: Datasets, trust: Trust) -> GrpcServer:
    server = GrpcServer("127.0.0.1:0", trust)
    server.add(add_DatasetServiceServicer_to_server, datasets, dataset_service_pb2.DESCRIPTOR)
    await server.start()
    return server


async def get(address: str, credentials: Credentials) -> dataset_pb2.Dataset:
    async with connect(address, credentials) as channel:
        return await call(DatasetServiceStub(channel).GetDataset, REQUEST, deadline_seconds=5)


@pytest.fixture
async def datasets() -> Datasets:
    return Datasets()  # type: ignore[abstract]


@pytest.fixture
async def address(datasets: Datasets) -> AsyncIterator[str]:
    server = await serving(datasets, TRUST)
    yield server.address
    await server.stop(0)


async def test_the_service_knows_who_calls_and_for_whom(address: str, datasets: Datasets) -> None:
    await get(address, credentials_of(Caller("users/ann", frozenset({"VIEW"}))))
    answered = call_context.caller.set(Caller("users/ann", frozenset({"LABEL"})))
    await get(address, TRUST.as_service("labeling"))
    call_context.caller.reset(answered)
    first, second = datasets.callers
    assert first == Caller("users/ann", frozenset({"VIEW"}))
    assert second is not None
    assert (second.principal, second.on_behalf_of) == ("services/labeling", "users/ann")
    assert datasets.changes == [None, None]


async def test_a_change_is_noted_with_who_makes_it(address: str, datasets: Datasets) -> None:
    async with connect(address, CREDENTIALS) as channel:
        await call(DatasetServiceStub(channel).SyncDataset, dataset_service_pb2.SyncDatasetRequest(name=REQUEST.name))
    (change,) = datasets.changes
    assert change is not None
    assert (change.method, change.resource, change.permission, change.caller.principal) == (
        "inkwright.dataset.v1.DatasetService.SyncDataset",
        REQUEST.name,
        "TRAIN",
        "users/ann",
    )


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic dXNlcg==", "x"])
async def test_a_call_without_a_token_gets_nowhere(address: str, datasets: Datasets, header: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await DatasetServiceStub(channel).GetDataset(REQUEST, metadata=(("authorization", header),), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert datasets.callers == []


async def test_a_missing_permission_and_another_project_are_refused(address: str, datasets: Datasets) -> None:
    with pytest.raises(Forbidden, match="VIEW"):
        await get(address, credentials_of(Caller("users/ann", frozenset({"LABEL"}))))
    async with connect(address, CREDENTIALS) as channel:
        with pytest.raises(NotFound, match="no project 'other'"):
            await call(DatasetServiceStub(channel).GetDataset, dataset_service_pb2.GetDatasetRequest(name="projects/other/datasets/a"))
    assert datasets.callers == []


def certificates(folder: Path, process: str) -> Tls:
    return Tls.read(folder / f"{process}.pem", folder / f"{process}.key", folder / "authority.pem")


async def test_mutual_tls_lets_only_holders_of_a_certificate_in(tmp_path: Path, datasets: Datasets) -> None:
    make_certificates(tmp_path / "ours", at=datetime.now(UTC))
    make_certificates(tmp_path / "theirs", at=datetime.now(UTC))
    make_certificates(tmp_path / "old", at=datetime.now(UTC) - timedelta(days=900))
    assert (tmp_path / "ours" / "dataset.key").stat().st_mode & 0o777 == 0o600
    # A program of somebody else's may show what ours would not start with.
    ended = Tls(*[(tmp_path / "old" / name).read_bytes() for name in ("labeling.pem", "labeling.key", "authority.pem")])
    server = await serving(datasets, Trust(TRUST.key, certificates(tmp_path / "ours", "dataset")))
    try:
        found = await get(server.address, Credentials(CREDENTIALS.token, certificates(tmp_path / "ours", "labeling")))
        assert found.name == REQUEST.name
        with pytest.raises(Unauthenticated):
            await get(server.address, Credentials(lambda: "no token", certificates(tmp_path / "ours", "labeling")))
        for outside in (None, certificates(tmp_path / "theirs", "labeling"), ended):
            with pytest.raises(NoReadyInstance):
                await get(server.address, Credentials(CREDENTIALS.token, outside))
    finally:
        await server.stop(0)
    assert len(datasets.callers) == 1


async def test_the_probe_of_a_container_speaks_tls_too(tmp_path: Path, datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    make_certificates(tmp_path, at=datetime.now(UTC))
    server = await serving(datasets, Trust(TRUST.key, certificates(tmp_path, "dataset")))
    monkeypatch.setenv("INKWRIGHT_DATASET_ADDRESS", server.address)
    try:
        assert await asyncio.to_thread(probe.main, ["dataset"]) == 1
        for name, file in (("CERTIFICATE", "dataset.pem"), ("KEY", "dataset.key"), ("AUTHORITY", "authority.pem")):
            monkeypatch.setenv(f"INKWRIGHT_TLS_{name}", str(tmp_path / file))
        assert await asyncio.to_thread(probe.main, ["dataset"]) == 0
    finally:
        await server.stop(0)


def test_half_of_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="go together"):
        DatasetSettings(home=tmp_path, tls_key=tmp_path / "a.key")


def test_the_bus_is_signed_in_to(tmp_path: Path) -> None:
    plain = DatasetSettings(home=tmp_path, nats_url="nats://127.0.0.1:1,nats://127.0.0.1:2")
    first, second = plain.bus_url.split(",")
    password = first.partition("inkwright:")[2].partition("@")[0]
    assert len(password) == 64
    assert (first, second) == (f"nats://inkwright:{password}@127.0.0.1:1", f"nats://inkwright:{password}@127.0.0.1:2")
    assert password not in str(plain.masked())
    given = DatasetSettings(home=tmp_path, nats_url="nats://me:mine@bus:4222")
    assert given.bus_url == "nats://me:mine@bus:4222"
