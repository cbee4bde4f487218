"""Every code of the public API through the real processes, each by a real cause."""

import io
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import onnx
import pytest
from onnx import helper

from inkwright.inference.v1 import deployment_pb2
from libs.demo.generator import generate
from libs.ocrkit.bundle import open_bundle, write_bundle
from libs.ocrkit.models import base_bundle_path
from tests.e2e.conftest import Installation, processes_of
from tests.e2e.steps import call, predict, wait_for, wait_running

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A JPEG with text."""
    (made,) = generate(tmp_path_factory.mktemp("image"), num_images=1, seed=6, part="train")
    return made.path.read_bytes()


@pytest.fixture(scope="module", autouse=True)
def deployment(inkwright: Installation) -> str:
    client = inkwright.client
    client.create_deployment("codes", deployment_pb2.Deployment(model="ppocrv6-small"))
    wait_running(client, "codes")
    return "codes"


def test_1001_for_a_body_without_data_array(inkwright: Installation) -> None:
    answer = call(inkwright, "codes", content=b'{"image": "x"}')
    assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (400, 1001, "INPUT_FORMAT_ERROR")


def test_1002_for_bytes_that_are_no_image(inkwright: Installation) -> None:
    answer = predict(inkwright, "codes", b"no image at all")
    assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (400, 1002, "IMAGE_DECODE_ERROR")


def test_2003_for_a_graph_that_fails_when_run(inkwright: Installation, image: bytes, tmp_path: Path) -> None:
    broken = breaking_bundle(tmp_path / "broken.inkbundle")
    done = inkwright.inkctl("model", "import", str(broken), "--name", "broken")
    assert done.returncode == 0, done.stderr
    client = inkwright.client
    wait_for(lambda: bool(client.create_deployment("breaks", deployment_pb2.Deployment(model="broken")).name), seconds=20)
    wait_running(client, "breaks")
    answer = predict(inkwright, "breaks", image)
    assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (500, 2003, "MODEL_FORWARD_ERROR")


def test_2001_for_an_instance_killed_with_the_request_in_flight(inkwright: Installation, image: bytes) -> None:
    client = inkwright.client
    (instance,) = client.get_deployment("codes").instances
    pid = pid_of_instance(inkwright.running.home, instance.instance_id)
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(predict(inkwright, "codes", image)))
    os.kill(pid, signal.SIGSTOP)  # The request reaches the socket and stays there.
    caller.start()
    time.sleep(1.0)
    os.kill(pid, signal.SIGKILL)
    caller.join(30)
    assert (answers[0].status_code, answers[0].json()["errorCode"], answers[0].json()["errorMsg"]) == (500, 2001, "UNKNOWN_ERROR")
    wait_for(lambda: predict(inkwright, "codes", image).status_code == 200, seconds=30)


def test_2002_when_the_instances_are_down(inkwright: Installation, image: bytes) -> None:
    done = inkwright.inkctl("deploy", "stop", "codes")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: predict(inkwright, "codes", image).status_code != 200, seconds=10)
    answer = predict(inkwright, "codes", image)
    assert (answer.status_code, answer.json()["errorCode"], answer.json()["errorMsg"]) == (503, 2002, "GET_INSTANCE_ERROR")
    assert int(answer.headers["Retry-After"]) > 0


def pid_of_instance(home: Path, instance_id: str) -> int:
    """The process of an instance."""
    pids = [pid for pid, command in processes_of(home).items() if "services.inference.instance" in command and instance_id in command]
    assert len(pids) == 1, processes_of(home)
    return pids[0]


def breaking_bundle(path: Path) -> Path:
    """A base bundle whose recognizer has one more Reshape, valid by every check, that no input can satisfy."""
    base = open_bundle(base_bundle_path("ppocrv6-small"))
    in_float = {part: getattr(base.manifest, part).model_copy(update={"int8_file": ""}) for part in ("detector", "recognizer")}
    manifest = base.manifest.model_copy(update=in_float)
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
    return write_bundle(path, manifest, files).path
