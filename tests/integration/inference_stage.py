"""Everything around an inference service under test: a real nats-server, a small trainer, base and made-up bundles."""

# ruff: noqa: N802

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import TensorProto, helper

from inkwright.inference.v1 import deployment_pb2, inference_service_pb2, inference_service_pb2_grpc, instance_service_pb2
from inkwright.inference.v1.instance_service_pb2_grpc import InstanceServiceStub
from inkwright.trainer.v1 import model_pb2, trainer_events_pb2, trainer_service_pb2, trainer_service_pb2_grpc
from libs.ocrkit.bundle import Bundle, write_bundle
from libs.ocrkit.charset import Charset
from libs.ocrkit.manifest import CharsetSpec, GraphSpec, Manifest, RecognizerSpec
from libs.runtime.bus import Bus
from libs.runtime.errors import NotFound
from libs.runtime.grpc_client import call, connect
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.key_value import KeyValue
from libs.runtime.subjects import fact_subject
from libs.runtime.testing import NatsServer, assert_eventually, nats_server
from services.inference.settings import InferenceSettings
from tests.trust import CREDENTIALS, TRUST, keyed

PROJECT = "projects/default"
State = deployment_pb2.Deployment.State
_CHARSET = Charset(("a", "b"))


def made_up_bundle(path: Path, *, detector: str = "blank") -> Bundle:
    """A bundle of two tiny graphs.

    Args:
        path: the file.
        detector: ``blank`` finds nothing; ``fails`` is valid and loads, but fails whenever it is run; ``unknown`` has an operator that
            no engine knows.
    """
    graphs = {"det.onnx": _detector(detector), "rec.onnx": _recognizer()}
    manifest = Manifest(
        name=path.stem,
        detector=GraphSpec(file="det.onnx", input_name="x", output_name="y"),
        recognizer=RecognizerSpec(file="rec.onnx", input_name="x", output_name="y"),
        charset=CharsetSpec.of(_CHARSET),
    )
    return write_bundle(path, manifest, {name: graph.SerializeToString() for name, graph in graphs.items()})


def _detector(kind: str) -> onnx.ModelProto:
    mean = helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1)
    last = {
        "blank": helper.make_node("Mul", ["mean", "zero"], ["y"]),
        # The number of pixels of no page that is filled up to strides of 32 can be divided by 7919.
        "fails": helper.make_node("Reshape", ["mean", "shape"], ["y"]),
        "unknown": helper.make_node("NoSuchOperator", ["mean"], ["y"]),
    }[kind]
    weights = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("shape", TensorProto.INT64, [4], [1, 1, -1, 7919]),
    ]
    return _model([mean, last], ["n", 3, "h", "w"], ["n", 1, "h2", "w2"], weights)


def _recognizer() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("Transpose", ["mean"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("Softmax", ["steps"], ["y"], axis=2),
    ]
    return _model(nodes, ["n", 3, 48, "w"], ["n", "t", _CHARSET.num_classes], [])


def _model(
    nodes: list[onnx.NodeProto], shape_in: list[str | int | None], shape_out: list[str | int | None], weights: list[TensorProto]
) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "made-up",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)],
        [weight for weight in weights if weight.name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def written_page(*texts: str) -> bytes:
    """A PNG with a line of text below the other."""
    page = np.full((90 * len(texts) + 40, 900, 3), 255, dtype=np.uint8)
    for row, text in enumerate(texts):
        cv2.putText(page, text, (30, 80 + 90 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (0, 0, 0), 3, cv2.LINE_AA)
    return cv2.imencode(".png", page)[1].tobytes()


@dataclass
class SmallTrainer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """``ReadBundle`` over files, and the facts about models."""

    bus: Bus
    bundles: dict[str, Path] = field(default_factory=dict)
    num_reads: int = 0

    async def ReadBundle(
        self, request: trainer_service_pb2.ReadBundleRequest, context: object
    ) -> AsyncIterator[trainer_service_pb2.ReadBundleResponse]:
        self.num_reads += 1
        path = self.bundles.get(request.bundle_digest)
        if path is None:
            raise NotFound(f"There is no bundle {request.bundle_digest}.", digest=request.bundle_digest)
        data = path.read_bytes()
        for start in range(0, len(data), 1 << 20):
            yield trainer_service_pb2.ReadBundleResponse(chunk=data[start : start + (1 << 20)])

    async def register(self, model_id: str, bundle: Bundle, *, kept: bool = True) -> str:
        """Tell that a model can be deployed; gives its name. ``kept``: whether its bundle can be had."""
        if kept:
            self.bundles[bundle.digest] = bundle.path
        name = f"{PROJECT}/models/{model_id}"
        model = model_pb2.Model(name=name, state=model_pb2.Model.READY, bundle_digest=bundle.digest)
        await self._tell(trainer_events_pb2.ModelRegistered(model=model), model_id)
        return name

    async def retire(self, model_id: str) -> None:
        """Tell that a model was withdrawn."""
        await self._tell(trainer_events_pb2.ModelRetired(model=f"{PROJECT}/models/{model_id}"), model_id)

    async def _tell(self, fact: Message, model_id: str) -> None:
        subject, payload = fact_subject("trainer", "model", type(fact), model_id), fact.SerializeToString()
        await self.bus.publish(subject, payload, message_id=hashlib.sha256(subject.encode() + payload).hexdigest())


@dataclass
class Stage:
    """What stands around the service."""

    nats: NatsServer
    bus: Bus
    trainer: SmallTrainer
    settings: InferenceSettings

    async def entries(self, bucket: str) -> dict[str, bytes]:
        """What a key-value bucket holds now."""
        opened = await KeyValue.open(self.bus, bucket, ttl_seconds=0 if bucket == "deployments" else 8)
        found: dict[str, bytes] = {}
        async for change in opened.watch():
            if change is None:
                break
            if change.value is not None:
                found[change.key] = change.value
        return found


@asynccontextmanager
async def stage(folder: Path, **settings: object) -> AsyncIterator[Stage]:
    """Everything but the service."""
    async with nats_server(folder) as nats:
        bus = await Bus.connect(nats.url, name="test")
        trainer = SmallTrainer(bus)  # type: ignore[abstract]
        server = GrpcServer("127.0.0.1:0", TRUST)
        server.add(trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server, trainer, trainer_service_pb2.DESCRIPTOR)
        await server.start()
        fixed: dict[str, object] = {
            "home": keyed(folder / "home"),
            "nats_url": nats.url,
            "inference_address": "127.0.0.1:0",
            "trainer_address": server.address,
            "inference_restart_seconds": 0.05,
            "inference_drain_seconds": 3.0,
            "log_level": "warning",
        }
        try:
            yield Stage(nats, bus, trainer, InferenceSettings.model_validate({**fixed, **settings}))
        finally:
            await server.stop(0)
            await bus.close()


class Client:
    """The service as its callers see it."""

    def __init__(self, address: str) -> None:
        self.channel = connect(address, CREDENTIALS)
        self.stub = inference_service_pb2_grpc.InferenceServiceStub(self.channel)

    async def create(self, deployment_id: str, *, request_id: str = "", **fields: object) -> deployment_pb2.Deployment:
        """Create a deployment."""
        asked = deployment_pb2.Deployment(**fields)  # type: ignore[arg-type]
        request = inference_service_pb2.CreateDeploymentRequest(
            parent=PROJECT, deployment_id=deployment_id, deployment=asked, request_id=request_id
        )
        return await call(self.stub.CreateDeployment, request)

    async def get(self, deployment_id: str) -> deployment_pb2.Deployment:
        """The deployment as it is now."""
        return await call(self.stub.GetDeployment, inference_service_pb2.GetDeploymentRequest(name=name_of(deployment_id)))

    async def scale(self, deployment_id: str, num_instances: int) -> deployment_pb2.Deployment:
        """Change the number of instances."""
        request = inference_service_pb2.ScaleDeploymentRequest(name=name_of(deployment_id), num_instances=num_instances)
        return await call(self.stub.ScaleDeployment, request)

    async def stop(self, deployment_id: str) -> deployment_pb2.Deployment:
        """Stop it."""
        return await call(self.stub.StopDeployment, inference_service_pb2.StopDeploymentRequest(name=name_of(deployment_id)))

    async def start(self, deployment_id: str) -> deployment_pb2.Deployment:
        """Start it."""
        return await call(self.stub.StartDeployment, inference_service_pb2.StartDeploymentRequest(name=name_of(deployment_id)))

    async def delete(self, deployment_id: str, *, etag: str = "") -> None:
        """Delete it."""
        await call(self.stub.DeleteDeployment, inference_service_pb2.DeleteDeploymentRequest(name=name_of(deployment_id), etag=etag))

    async def token(self, deployment_id: str) -> str:
        """Its token."""
        request = inference_service_pb2.RevealTokenRequest(name=name_of(deployment_id))
        return (await call(self.stub.RevealToken, request)).token

    async def ids(self, **fields: object) -> list[str]:
        """The last parts of the listed names."""
        request = inference_service_pb2.ListDeploymentsRequest(parent=PROJECT, **fields)  # type: ignore[arg-type]
        return [listed.name.rpartition("/")[2] for listed in (await call(self.stub.ListDeployments, request)).deployments]

    async def acquire(self, model: str = "") -> inference_service_pb2.AcquireSuggestionInstanceResponse:
        """Ask for a suggestion instance."""
        request = inference_service_pb2.AcquireSuggestionInstanceRequest(model=model)
        return await call(self.stub.AcquireSuggestionInstance, request)

    async def becomes(
        self, deployment_id: str, state: int, *, num_instances: int | None = None, seconds: float = 40.0
    ) -> deployment_pb2.Deployment:
        """Wait for a state, and for a number of living instances where it is given."""

        async def check() -> deployment_pb2.Deployment:
            # Asking fifty times a second would take the core from what is waited for.
            await asyncio.sleep(0.1)
            now = await self.get(deployment_id)
            assert now.state == state, f"{State.Name(now.state)} {now.reason}: {now.message}"
            living = [instance for instance in now.instances if instance.state != deployment_pb2.Instance.DOWN]
            assert num_instances in (None, len(living)), now
            return now

        return await assert_eventually(check, seconds)


def name_of(deployment_id: str) -> str:
    """A deployment's name."""
    return f"{PROJECT}/deployments/{deployment_id}"


@asynccontextmanager
async def client(address: str) -> AsyncIterator[Client]:
    """A client with its channel."""
    made = Client(address)
    try:
        yield made
    finally:
        await made.channel.close()


async def predict(endpoint: str, image: bytes) -> instance_service_pb2.PredictResponse:
    """Have an instance read an image."""
    async with connect(endpoint, CREDENTIALS) as channel:
        request = instance_service_pb2.PredictRequest(image=image)
        return await call(InstanceServiceStub(channel).Predict, request, deadline_seconds=30.0)
