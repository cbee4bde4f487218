"""A program that knows nothing but docs/grpc.md: over mutual TLS it labels, trains, deploys and reads."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from deploy.certs import make_certificates
from inkwright.common.v1.geometry_pb2 import Point, Quad
from inkwright.dataset.v1.dataset_pb2 import Dataset
from inkwright.dataset.v1.dataset_service_pb2 import CreateDatasetRequest, GetDatasetRequest
from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from inkwright.inference.v1.deployment_pb2 import Deployment
from inkwright.inference.v1.inference_service_pb2 import CreateDeploymentRequest, GetDeploymentRequest
from inkwright.inference.v1.inference_service_pb2_grpc import InferenceServiceStub
from inkwright.inference.v1.instance_service_pb2 import PredictRequest
from inkwright.inference.v1.instance_service_pb2_grpc import InstanceServiceStub
from inkwright.labeling.v1.labeling_service_pb2 import ApplyOperationsRequest, ListPagesRequest, SubmitPageRequest
from inkwright.labeling.v1.labeling_service_pb2_grpc import LabelingServiceStub
from inkwright.labeling.v1.page_pb2 import Box, CreateBox, Operation
from inkwright.trainer.v1.task_pb2 import Task
from inkwright.trainer.v1.trainer_service_pb2 import CreateTaskRequest, GetTaskRequest
from inkwright.trainer.v1.trainer_service_pb2_grpc import TrainerServiceStub
from libs.demo.generator import generate
from libs.demo.installation import Running, installation
from libs.runtime.testing import free_port

pytestmark = pytest.mark.timeout(600)

SERVICES = ("dataset", "labeling", "trainer", "inference")
PROJECT = "projects/default"
NUM_IMAGES = 12


@dataclass
class Program:
    """What a consumer keeps: its token, its certificate, and where the services are."""

    gateway: str
    token: str
    certificates: Path
    addresses: dict[str, str]
    access_token: str = ""
    expire_time: float = 0.0

    def metadata(self) -> list[tuple[str, str]]:
        """With an access token that still holds."""
        if time.time() > self.expire_time - 60:
            headers = {"Authorization": f"Bearer {self.token}"}
            answer = httpx.post(f"{self.gateway}/v1/caller:createAccessToken", json={}, headers=headers).raise_for_status().json()
            expires = Timestamp()
            expires.FromJsonString(answer["expireTime"])
            self.access_token, self.expire_time = answer["accessToken"], expires.ToSeconds()
        return [("authorization", f"Bearer {self.access_token}"), ("x-request-id", "consumer-1")]

    def channel(self, address: str) -> grpc.Channel:
        """As the page says."""
        authority, key, certificate = ((self.certificates / name).read_bytes() for name in ("authority.pem", "client.key", "client.pem"))
        credentials = grpc.ssl_channel_credentials(authority, key, certificate)
        return grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", "inkwright.internal")])

    def call(self, method: Any, request: Any) -> Any:
        """Call, and again where the page says that this is right."""
        end = time.monotonic() + 30
        while True:
            try:
                return method(request, metadata=self.metadata(), timeout=30)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > end:
                    raise
                time.sleep(0.5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path, Path, dict[str, str]]]:
    """An installation over mutual TLS: it, its certificates, the folder of images, and the services' addresses."""
    certificates, folder = tmp_path_factory.mktemp("certificates"), tmp_path_factory.mktemp("images")
    make_certificates(certificates, at=datetime.now(UTC))
    addresses = {service: f"127.0.0.1:{free_port()}" for service in SERVICES}
    env = {f"INKWRIGHT_{service.upper()}_ADDRESS": address for service, address in addresses.items()} | {
        "INKWRIGHT_TLS_CERTIFICATE": str(certificates / "gateway.pem"),
        "INKWRIGHT_TLS_KEY": str(certificates / "gateway.key"),
        "INKWRIGHT_TLS_AUTHORITY": str(certificates / "authority.pem"),
        "INKWRIGHT_TRAINER_MAX_TRAINING_SECONDS": "20",
    }
    with installation(tmp_path_factory.mktemp("home"), folder, env=env) as running:
        yield running, certificates, folder, addresses


def waited(get: Callable[[], Any], until: Callable[[Any], bool], *, seconds: float) -> Any:
    """Ask until it is so."""
    end = time.monotonic() + seconds
    while not until(found := get()):
        assert time.monotonic() < end, found
        time.sleep(0.2)
    return found


def test_labels_become_a_model_that_reads(place: tuple[Running, Path, Path, dict[str, str]]) -> None:
    running, certificates, folder, addresses = place
    # `inkctl user create robot --role admin --service-account` and `inkctl token create --user robot --scope …`.
    administrator = {"Authorization": f"Bearer {running.token}"}
    robot = {"role": "ADMIN", "kind": "SERVICE_ACCOUNT"}
    httpx.post(f"{running.url}/v1/users?userId=robot", json=robot, headers=administrator).raise_for_status()
    wanted = {"scopes": ["VIEW", "LABEL", "TRAIN", "DEPLOY", "PREDICT"]}
    made = httpx.post(f"{running.url}/v1/users/robot/tokens", json=wanted, headers=administrator).raise_for_status().json()
    program = Program(running.url, made["secret"], certificates, addresses)

    cards = folder / "cards"
    images = generate(cards, num_images=NUM_IMAGES, seed=3, part="train", num_unlabeled=NUM_IMAGES, truth_dir=folder)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    datasets = DatasetServiceStub(program.channel(addresses["dataset"]))
    name = f"{PROJECT}/datasets/cards"
    dataset = Dataset(storage_type=Dataset.LOCAL, path=str(cards))
    program.call(datasets.CreateDataset, CreateDatasetRequest(parent=PROJECT, dataset_id="cards", dataset=dataset))
    waited(lambda: program.call(datasets.GetDataset, GetDatasetRequest(name=name)), lambda found: found.state == Dataset.READY, seconds=60)

    labeling = LabelingServiceStub(program.channel(addresses["labeling"]))
    request = ListPagesRequest(parent=name)
    listed = waited(lambda: program.call(labeling.ListPages, request), lambda found: len(found.pages) == len(images), seconds=60)
    for page in listed.pages:
        boxes = [
            Box(box_id=f"b{number}", text=line["text"], quad=Quad(points=[Point(x=x, y=y) for x, y in line["quad"]]))
            for number, line in enumerate(truth[page.key])
        ]
        operations = [Operation(operation_id=f"o-{box.box_id}", create_box=CreateBox(box=box)) for box in boxes]
        program.call(labeling.ApplyOperations, ApplyOperationsRequest(name=page.name, operations=operations))
        program.call(labeling.SubmitPage, SubmitPageRequest(name=page.name))
    assert len(list(cards.glob("*.xml"))) == len(images)

    def labeled() -> int:
        return int(program.call(datasets.GetDataset, GetDatasetRequest(name=name)).counts.num_labeled)

    waited(labeled, lambda count: count == len(images), seconds=30)

    trainer = TrainerServiceStub(program.channel(addresses["trainer"]))
    order = CreateTaskRequest(parent=PROJECT, task_id="first", task=Task(dataset=name), request_id="once")
    task = program.call(trainer.CreateTask, order)
    assert program.call(trainer.CreateTask, order).name == task.name
    ended = {Task.SUCCEEDED, Task.FAILED, Task.TERMINATED}
    task = waited(lambda: program.call(trainer.GetTask, GetTaskRequest(name=task.name)), lambda found: found.state in ended, seconds=400)
    assert task.state == Task.SUCCEEDED, task.error_message

    inference = InferenceServiceStub(program.channel(addresses["inference"]))
    deployment = CreateDeploymentRequest(parent=PROJECT, deployment_id="reader", deployment=Deployment(model=task.model))
    created = program.call(inference.CreateDeployment, deployment)
    get = GetDeploymentRequest(name=created.name)
    found = waited(lambda: program.call(inference.GetDeployment, get), lambda deployed: deployed.state == Deployment.RUNNING, seconds=120)
    reader = InstanceServiceStub(program.channel(found.instances[0].endpoint))
    reply = program.call(reader.Predict, PredictRequest(image=images[0].path.read_bytes()))
    assert reply.bundle_digest == found.instances[0].bundle_digest
    read, written = {line.text for line in reply.lines}, {line["text"] for line in truth[images[0].path.name]}
    assert len(read & written) >= len(written) / 3, (read, written)


def test_a_wrong_call_says_what_is_wrong(place: tuple[Running, Path, Path, dict[str, str]]) -> None:
    running, certificates, _, addresses = place
    wanted = {"role": "VIEWER", "kind": "SERVICE_ACCOUNT"}
    administrator = {"Authorization": f"Bearer {running.token}"}
    httpx.post(f"{running.url}/v1/users?userId=looker", json=wanted, headers=administrator).raise_for_status()
    made = httpx.post(f"{running.url}/v1/users/looker/tokens", json={}, headers=administrator).raise_for_status().json()
    program = Program(running.url, made["secret"], certificates, addresses)
    datasets = DatasetServiceStub(program.channel(addresses["dataset"]))
    for method, request, code, reason in (
        (datasets.GetDataset, GetDatasetRequest(name=f"{PROJECT}/datasets/none"), grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        (datasets.GetDataset, GetDatasetRequest(name="nonsense"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME"),
        (datasets.CreateDataset, CreateDatasetRequest(parent=PROJECT, dataset_id="x"), grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            program.call(method, request)
        error: Any = caught.value
        assert (error.code(), reason_of(error)) == (code, reason)
    with pytest.raises(grpc.RpcError) as stranger:
        datasets.GetDataset(GetDatasetRequest(name=f"{PROJECT}/datasets/none"), timeout=10)
    refused: Any = stranger.value
    assert (refused.code(), reason_of(refused)) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


def reason_of(error: Any) -> str:
    """The reason in a status, found as the page says."""
    trailing = dict(error.trailing_metadata())
    info = error_details_pb2.ErrorInfo()
    (detail,) = status_pb2.Status.FromString(trailing["grpc-status-details-bin"]).details
    assert detail.Unpack(info)
    assert info.domain == "inkwright"
    return str(info.reason)
