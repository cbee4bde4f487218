"""Metrics as Prometheus gets them: from a real port, with the token and not without."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from nats.aio.client import Client
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from gateway.metrics import gateway_probes
from gateway.public.routing import RoutingTable
from inkwright.dataset.v1 import dataset_service_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from libs.runtime.bus import Bus
from libs.runtime.errors import NotFound
from libs.runtime.grpc_client import call, connect
from libs.runtime.http_door import HttpDoor
from libs.runtime.key_value import KeyChange
from libs.runtime.probes import service_probes
from libs.runtime.service import Service
from libs.runtime.testing import NatsServer, assert_eventually, nats_server
from services.dataset.main import build_with
from services.dataset.settings import DatasetSettings
from tests.gateway_world import World, bmp, element, gateway_world, instance_entry, route_entry
from tests.integration.conftest import Databases
from tests.integration.plumbing import METADATA, NoteWork, open_database
from tests.integration.running import running
from tests.trust import CREDENTIALS, KEY, keyed

TOKEN = "a-token-for-prometheus"


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    (tmp_path / "bus").mkdir()
    async with nats_server(tmp_path / "bus") as server:
        yield server


@asynccontextmanager
async def dataset_service(nats: NatsServer, home: Path) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """The address of a running service, and a client of its metrics."""
    settings = DatasetSettings(
        home=keyed(home),
        nats_url=nats.url,
        dataset_address="127.0.0.1:0",
        dataset_metrics_address="127.0.0.1:0",
        metrics_token=SecretStr(TOKEN),
        roots=str(home),
    )
    service = await build_with(settings)
    door = service.doors[1]
    assert isinstance(door, HttpDoor)

    async def built() -> Service:
        return service

    async with running(built()) as address:
        await assert_eventually(lambda: not door.address.endswith(":0"))
        async with httpx.AsyncClient(base_url=f"http://{door.address}", headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            yield address, http


async def scraped(http: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    """Samples by name and the values of their labels, in the order of the labels' names."""
    answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, ",".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_a_service_shows_its_calls_its_outbox_and_its_bus(nats: NatsServer, tmp_path: Path) -> None:
    method = "/inkwright.dataset.v1.DatasetService/GetDataset"
    async with dataset_service(nats, tmp_path) as (address, http), connect(address, CREDENTIALS) as channel:
        before = (await scraped(http)).get(("inkwright_grpc_server_handled_total", f"NOT_FOUND,{method}"), 0.0)
        with pytest.raises(NotFound):
            await call(DatasetServiceStub(channel).GetDataset, dataset_service_pb2.GetDatasetRequest(name="projects/default/datasets/x"))
        found = await scraped(http)
        assert found["inkwright_grpc_server_handled_total", f"NOT_FOUND,{method}"] == before + 1
        assert found["inkwright_grpc_server_in_flight", method] == 0
        assert found["inkwright_outbox_waiting", ""] == 0
        assert found["inkwright_bus_connected", ""] == 1
        assert found["inkwright_database_connections", "idle"] >= 1
        assert found["process_resident_memory_bytes", ""] > 0
        await nats.kill()

        async def gone() -> bool:
            return (await scraped(http))["inkwright_bus_connected", ""] == 0

        await assert_eventually(gone)
        await nats.start()


async def test_what_waits_in_the_outbox_is_counted_with_its_age(databases: Databases) -> None:
    database = await open_database(databases.url())
    told = datetime.now(UTC)
    for moment in (told - timedelta(seconds=40), told):
        database.clock = lambda moment=moment: moment  # type: ignore[misc]
        async with database.work(NoteWork)() as w:
            w.tell(StringValue(value="waits"), resource="note", id="1")
            await w.commit()
    probes = service_probes(database, METADATA, Bus(Client(), ()))
    await asyncio.gather(*(probe() for probe in probes.values()))
    assert REGISTRY.get_sample_value("inkwright_outbox_waiting") == 2
    assert REGISTRY.get_sample_value("inkwright_outbox_oldest_seconds") == 40
    assert REGISTRY.get_sample_value("inkwright_bus_connected") == 0
    await database.close()


async def test_nobody_sees_anything_without_the_token(nats: NatsServer, tmp_path: Path) -> None:
    async with dataset_service(nats, tmp_path) as (_, http):
        for header in ("", "Bearer", f"Bearer {TOKEN}x", TOKEN, f"Basic {TOKEN}"):
            for path in ("/metrics", "/", "/instances"):
                answer = await http.get(path, headers={"Authorization": header})
                assert (answer.status_code, "inkwright_" in answer.text) == (401, False)
        assert (await http.get("/")).status_code == 404
        assert (await http.post("/metrics")).status_code == 404


async def test_the_gateway_knows_its_instances_and_the_state_of_the_bus(nats: NatsServer, tmp_path: Path) -> None:
    bus = await Bus.connect(nats.url, name="test")
    table = RoutingTable(KEY, CREDENTIALS)
    table.on_deployment(KeyChange("reader", route_entry(KEY, "reader")))
    table.on_instance(KeyChange("reader.i0", instance_entry("reader", "i0", "127.0.0.1:9")))
    await bus.publish("inkwright.dead.labeling-notes", b"?", message_id="d1")
    await bus.publish("jobs.train.cpu", b"?", message_id="j1")
    try:
        await asyncio.gather(*(probe() for probe in gateway_probes(bus, table).values()))
        assert REGISTRY.get_sample_value("inkwright_gateway_instances", {"deployment": "reader"}) == 1
        assert REGISTRY.get_sample_value("inkwright_dead_letters") == 1
        assert REGISTRY.get_sample_value("inkwright_queue_jobs", {"stream": "JOBS_TRAIN"}) == 1
        table.on_deployment(KeyChange("reader", None))
        await gateway_probes(bus, table)["routing"]()
        assert REGISTRY.get_sample_value("inkwright_gateway_instances", {"deployment": "reader"}) is None
    finally:
        await table.close()
        await bus.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as found:
        yield found


async def test_requests_count_by_template_and_elements_by_code(world: World) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    requests = {"template": "/v1/{name=projects/*/datasets/*}", "method": "GET", "status": "404"}
    elements = {"deployment": "lonely", "code": "2002"}
    before = value("inkwright_http_requests_total", **requests), value("inkwright_predict_elements_total", **elements)
    await world.http.get("/v1/projects/default/datasets/nowhere")
    await world.http.request("BREW", "/v1/projects/default/datasets/nowhere")
    world.deploy("lonely")
    await world.predict("lonely", element(bmp(40, 40)))
    after = value("inkwright_http_requests_total", **requests), value("inkwright_predict_elements_total", **elements)
    assert after == (before[0] + 1, before[1] + 1)
    methods = {
        labels["method"] for family in REGISTRY.collect() for labels in (sample.labels for sample in family.samples) if "template" in labels
    }
    assert "BREW" not in methods
