"""The main job through the real processes: from a folder of images to an answer over HTTP, and every code of the public API."""

import base64
import io
import os
import signal
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
from onnx import helper

from inkwright.dataset.v1 import dataset_pb2
from inkwright.inference.v1 import deployment_pb2
from inkwright.trainer.v1 import task_pb2
from libs.client.edits import WantedBox, edits
from libs.client.inkwright import Inkwright
from libs.demo.generator import GeneratedImage, generate
from libs.ocrkit.bundle import open_bundle, write_bundle
from libs.ocrkit.models import base_bundle_path
from tests.e2e.conftest import Installation, processes_of

pytestmark = pytest.mark.timeout(400)

NUM_IMAGES = 12
NUM_UNLABELED = 2
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM")


@pytest.fixture(scope="module")
def cards(inkwright: Installation) -> list[GeneratedImage]:
    """Generated images in a data set's folder, the last ones without labels."""
    return generate(inkwright.folder / "cards", num_images=NUM_IMAGES, seed=5, part="train", num_unlabeled=NUM_UNLABELED)


def wanted_of(image: GeneratedImage) -> list[WantedBox]:
    """The generator's truth in the form of a labels file."""
    return [WantedBox(label=box.text, pos=[(float(x), float(y)) for x, y in box.quad]) for box in image.boxes]


def files_with_image_bytes(home: Path) -> list[Path]:
    """Files below the home that are, or hold, an image file of a data set."""
    found = []
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if path.suffix.lower() in IMAGE_SUFFIXES or data.startswith(MAGIC[:2]) or b"\xff\xd8\xff\xe0\x00\x10JFIF" in data:
                found.append(path)
    return found


def test_folder_to_answer(inkwright: Installation, cards: list[GeneratedImage]) -> None:
    client = inkwright.client
    folder = inkwright.folder / "cards"

    created = inkwright.inkctl_json("dataset", "create", "cards", "--path", str(folder), "--description", "generated")
    assert created["state"] == "READY"
    counts = client.get_dataset("cards").counts
    assert (counts.num_images, counts.num_unlabeled) == (NUM_IMAGES, NUM_UNLABELED)
    assert files_with_image_bytes(inkwright.running.home) == []

    done = inkwright.inkctl("label", "prelabel", "cards")
    assert done.returncode == 0, done.stderr
    for image in cards[-NUM_UNLABELED:]:
        page = client.get_page(client.find_image("cards", image.path.stem).name.replace("/images/", "/pages/"))
        assert page.num_suggestions > 0
        client.apply_operations(page.name, edits(page, wanted_of(image)))
        assert inkwright.inkctl("label", "submit", "cards", image.path.name).returncode == 0
        assert image.path.with_suffix(".xml").is_file()
    wait_for(lambda: client.get_dataset("cards").counts.num_unlabeled == 0, seconds=20)
    assert client.find_image("cards", cards[-1].path.stem).label_state == dataset_pb2.Image.SUBMITTED

    done = inkwright.inkctl("task", "create", "first", "--dataset", "cards", "--mode", "fast", "--follow")
    assert done.returncode == 0, done.stdout + done.stderr
    task = client.get_task("first")
    states = {node.node_id: task_pb2.Node.State.Name(node.state) for node in task.nodes}
    assert states["train-recognizer"] == states["evaluate"] == states["gate"] == "SUCCEEDED"
    assert states["build-engine"] == "SKIPPED"
    model = client.get_model(task.model)
    assert {"loss", "line_accuracy", "cer"} <= model.metrics.keys()
    assert model.base_metrics["cer"] >= 0
    assert model.model_size["fp32"] > 0

    done = inkwright.inkctl("deploy", "create", "reader", "--model", "first")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = predict(inkwright, "reader", cards[0].path.read_bytes())
    assert answer.status_code == 200
    body = answer.json()
    assert list(body)[:3] == ["requestId", "success", "result"]
    assert answer.headers["X-Model-Version"] == model.bundle_digest
    truth = {box.text for box in cards[0].boxes}
    assert truth & {line["label"] for line in body["result"]["output"]}


def test_terminate_takes_less_than_five_seconds(inkwright: Installation, cards: list[GeneratedImage]) -> None:
    client = inkwright.client
    ensure_dataset(client, inkwright.folder / "cards")
    client.create_task("halted", task_pb2.Task(dataset="cards"))

    def training() -> bool:
        return any(node.node_id == "train-recognizer" and node.state == task_pb2.Node.RUNNING for node in client.get_task("halted").nodes)

    wait_for(training, seconds=120)
    start = time.monotonic()
    assert inkwright.inkctl("task", "terminate", "halted").returncode == 0
    assert time.monotonic() - start < 5.0 + 2.0  # two seconds for the command line itself
    task = client.get_task("halted")
    assert task.state == task_pb2.Task.TERMINATED
    assert (task.end_time.ToDatetime() - task.create_time.ToDatetime()).total_seconds() > 0
    assert not task.model


class TestPublicCodes:
    """Each code by a real cause."""

    @pytest.fixture(scope="class", autouse=True)
    def deployment(self, inkwright: Installation) -> str:
        client = inkwright.client
        client.create_deployment("codes", deployment_pb2.Deployment(model="ppocrv6-small"))
        wait_running(client, "codes")
        return "codes"

    def test_1001_for_a_body_without_data_array(self, inkwright: Installation) -> None:
        answer = call(inkwright, "codes", content=b'{"image": "x"}')
        assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (400, 1001, "INPUT_FORMAT_ERROR")

    def test_1002_for_bytes_that_are_no_image(self, inkwright: Installation) -> None:
        answer = predict(inkwright, "codes", b"no image at all")
        assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (400, 1002, "IMAGE_DECODE_ERROR")

    def test_2003_for_a_graph_that_fails_when_run(self, inkwright: Installation, cards: list[GeneratedImage], tmp_path: Path) -> None:
        broken = breaking_bundle(tmp_path / "broken.inkbundle")
        done = inkwright.inkctl("model", "import", str(broken), "--name", "broken")
        assert done.returncode == 0, done.stderr
        client = inkwright.client
        wait_for(lambda: bool(client.create_deployment("breaks", deployment_pb2.Deployment(model="broken")).name), seconds=20)
        wait_running(client, "breaks")
        answer = predict(inkwright, "breaks", cards[0].path.read_bytes())
        assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (500, 2003, "MODEL_FORWARD_ERROR")

    def test_2001_for_an_instance_killed_with_the_request_in_flight(self, inkwright: Installation, cards: list[GeneratedImage]) -> None:
        client = inkwright.client
        (instance,) = client.get_deployment("codes").instances
        pid = pid_of_instance(inkwright.running.home, instance.instance_id)
        answers: list[httpx.Response] = []
        caller = threading.Thread(target=lambda: answers.append(predict(inkwright, "codes", cards[0].path.read_bytes())))
        os.kill(pid, signal.SIGSTOP)  # The request reaches the socket and stays there.
        caller.start()
        time.sleep(1.0)
        os.kill(pid, signal.SIGKILL)
        caller.join(30)
        assert (answers[0].status_code, answers[0].json()["errorCode"], answers[0].json()["errorMsg"]) == (500, 2001, "UNKNOWN_ERROR")
        wait_running(client, "codes")
        assert predict(inkwright, "codes", cards[0].path.read_bytes()).status_code == 200

    def test_2002_when_the_instances_are_down(self, inkwright: Installation, cards: list[GeneratedImage]) -> None:
        done = inkwright.inkctl("deploy", "stop", "codes")
        assert done.returncode == 0, done.stderr
        answer = predict(inkwright, "codes", cards[0].path.read_bytes())
        assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (503, 2002, "GET_INSTANCE_ERROR")
        assert int(answer.headers["Retry-After"]) > 0


def ensure_dataset(client: Inkwright, folder: Path) -> None:
    """Create the data set where a test runs alone."""
    if not any(dataset.name.endswith("/cards") for dataset in client.list_datasets()):
        client.create_dataset("cards", path=str(folder))
    wait_for(lambda: client.get_dataset("cards").state == dataset_pb2.Dataset.READY, seconds=30)


def wait_for(check: Any, *, seconds: float) -> None:
    """Ask every 100 ms; a refusal by the server counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
            reason = "still false"
        except Exception as error:  # noqa: BLE001 - whatever the server refuses with is shown if it stays so
            reason = str(error)
        assert time.monotonic() < deadline, reason
        time.sleep(0.1)


def wait_running(client: Inkwright, name: str) -> None:
    """Wait until a deployment is RUNNING and the gateway has had the time to hear of its instance."""
    wait_for(lambda: client.get_deployment(name).state == deployment_pb2.Deployment.RUNNING, seconds=60)
    token = client.reveal_token(name)
    wait_for(lambda: client.rest.predict(name, b"", token=token).get("errorCode") != 404, seconds=10)


def call(inkwright: Installation, deployment: str, *, content: bytes) -> httpx.Response:
    """Post a body to a deployment's address with its token."""
    token = inkwright.client.reveal_token(deployment)
    return httpx.post(f"{inkwright.running.url}/api/predict/{deployment}", content=content, headers={"Authorization": token}, timeout=60)


def predict(inkwright: Installation, deployment: str, image: bytes) -> httpx.Response:
    """Post one image, base64 in JSON."""
    return call(inkwright, deployment, content=b'{"dataArray":[{"body":"' + base64.b64encode(image) + b'"}]}')


def pid_of_instance(home: Path, instance_id: str) -> int:
    """The process of an instance."""
    pids = [pid for pid, command in processes_of(home).items() if "services.inference.instance" in command and instance_id in command]
    assert len(pids) == 1, processes_of(home)
    return pids[0]


def breaking_bundle(path: Path) -> Path:
    """A base bundle whose recognizer has one more Reshape, valid by every check, that no input can satisfy."""
    base = open_bundle(base_bundle_path("ppocrv6-small"))
    manifest = base.manifest
    model = onnx.load_from_string(base.read(manifest.recognizer.file))
    output = model.graph.output[0].name
    inner = f"{output}_before"
    for node in model.graph.node:
        node.output[:] = [inner if name == output else name for name in node.output]
    shape = helper.make_tensor("impossible_shape", onnx.TensorProto.INT64, [3], [1, 7, 11])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("Reshape", [inner, "impossible_shape"], [output]))
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    files = {manifest.detector.file: base.read(manifest.detector.file), manifest.recognizer.file: buffer.getvalue()}
    bundle = write_bundle(path, manifest, files)
    assert zipfile.is_zipfile(bundle.path)
    return bundle.path
