"""One request through all processes: its id in every log line, its trace in every span."""

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from structlog.testing import capture_logs

from inkwright.trainer.v1 import task_pb2
from libs.runtime import call_context, traces
from libs.runtime.call_context import Origin
from libs.runtime.testing import assert_eventually
from services.trainer.main import build_with as build_trainer
from tests.integration.gateway_running import running_gateway
from tests.integration.pictures import write_image
from tests.integration.running import running
from tests.integration.tiny_bundle import write_tiny_bundle
from tests.integration.trainer_stage import Client, draw_page, ended, stage
from tests.integration.world import labeling_world

TRACE_ID, CALLER_SPAN = "5b" * 16, "a1" * 8
HEADERS = {"X-Request-Id": "follow-me.1", "traceparent": f"00-{TRACE_ID}-{CALLER_SPAN}-01"}


@pytest.fixture(autouse=True)
def _with_info_lines() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.configure(**before)


@dataclass
class Collector:
    """What an OTLP collector was sent."""

    url: str
    spans: list[Span] = field(default_factory=list)

    def named(self, name: str) -> Span:
        """The one span of this trace with that name."""
        [found] = [span for span in self.spans if span.name == name and span.trace_id.hex() == TRACE_ID]
        return found


@contextmanager
def collector() -> Iterator[Collector]:
    """A real HTTP server that takes what real collectors take."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/v1/traces":
                found.spans += [span for resource in sent.resource_spans for scope in resource.scope_spans for span in scope.spans]
            body = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    traces.configure_traces("test", found.url)
    try:
        yield found
    finally:
        traces.close_traces()
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.fixture
async def lines() -> AsyncIterator[list[Any]]:
    """Every log line, with what is bound to it."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as found:
        yield found


async def test_an_id_and_a_trace_go_from_http_through_grpc_and_the_outbox_to_a_consumer(tmp_path: Path, lines: list[Any]) -> None:
    with collector() as collected:
        async with labeling_world(tmp_path) as world:
            write_image(world.folder / "one.png")
            async with running_gateway(world.nats, world.home, dataset_address=world.dataset_address) as gateway:
                body = {"path": str(world.folder), "storageType": "LOCAL"}
                answer = await gateway.http.post("/v1/projects/default/datasets", params={"datasetId": "cards"}, json=body, headers=HEADERS)
                assert (answer.status_code, answer.headers["X-Request-Id"]) == (200, "follow-me.1"), answer.text
                await world.opened(world.name, 1)

            def settled() -> bool:
                return any(line["event"] == "fact_settled" and line["durable"] == "labeling-images-indexed" for line in lines)

            await assert_eventually(settled)
    mine = [line for line in lines if line.get("request_id") == "follow-me.1"]
    said = {(line["event"], str(line.get("method") or line.get("durable") or "").rpartition("/")[2]) for line in mine}
    assert {
        ("request_finished", "POST"),
        ("call_finished", "CreateDataset"),
        ("sync_finished", ""),
        ("fact_settled", "labeling-images-indexed"),
        # The consumer asks the dataset service about the images: the id has come full circle.
        ("call_finished", "ListImages"),
    } <= said
    created = "POST /v1/{parent=projects/*}/datasets"
    chain = ["hear labeling-images-indexed", "index dataset", "inkwright.dataset.v1.DatasetService/CreateDataset", created]
    spans = [collected.named(name) for name in chain]
    assert [span.parent_span_id.hex() for span in spans] == [*(span.span_id.hex() for span in spans[1:]), CALLER_SPAN]
    for span in spans:
        assert {entry.key: entry.value.string_value for entry in span.attributes}["inkwright.request_id"] == "follow-me.1"
    assert [Span.SpanKind.Name(span.kind) for span in spans] == [
        "SPAN_KIND_CONSUMER",
        "SPAN_KIND_INTERNAL",
        "SPAN_KIND_SERVER",
        "SPAN_KIND_SERVER",
    ]


async def test_a_training_keeps_the_id_down_to_the_calls_of_its_child_processes(tmp_path: Path, lines: list[Any]) -> None:
    write_tiny_bundle(tmp_path / "models" / "small.inkbundle")
    async with (
        stage(tmp_path, [draw_page(number) for number in range(3)], models=tmp_path / "models") as scene,
        running(build_trainer(scene.settings)) as address,
        Client(address) as client,
    ):
        # The first image is never given out: what was asked for until then is enough.
        scene.datasets.opened.clear()
        with Origin("train-me.1", HEADERS["traceparent"]).continued():
            await client.create("kept")
        await assert_eventually(lambda: "ReadImage" in scene.datasets.asked_for)
        await client.terminate("kept")
        await ended(client, "kept", task_pb2.Task.TERMINATED)
    assert {method: scene.datasets.asked_for[method] for method in ("FreezeDataset", "ListVersionEntries", "ReadImage")} == {
        "FreezeDataset": {"train-me.1"},
        "ListVersionEntries": {"train-me.1"},
        "ReadImage": {"train-me.1"},
    }
    [started] = [line for line in lines if line["event"] == "node_started"]
    assert (started["request_id"], started["node"]) == ("train-me.1", "snapshot")
    assert call_context.origin() == Origin()
