"""The main job through the real processes: from a folder of images to an answer over HTTP."""

import time
from pathlib import Path

import pytest

from inkwright.dataset.v1 import dataset_pb2
from inkwright.trainer.v1 import task_pb2
from libs.client.edits import WantedBox, edits
from libs.client.inkwright import Inkwright
from libs.demo.generator import GeneratedImage, generate
from tests.e2e.conftest import Installation
from tests.e2e.steps import predict, wait_for

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

    tried = inkwright.inkctl_json("dataset", "test-connection", "--path", str(folder))
    assert tried["passed"] is True
    failed = inkwright.inkctl("dataset", "test-connection", "--path", f"{folder}/nowhere")
    assert (failed.returncode, "There is no folder" in failed.stdout) == (4, True), failed
    created = inkwright.inkctl_json("dataset", "create", "cards", "--path", str(folder), "--description", "generated")
    assert created["state"] == "READY"
    assert "READ_LABELS  OK" in inkwright.inkctl("dataset", "test-connection", "cards").stdout
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
        return any(node.node_id == "train-detector" and node.state == task_pb2.Node.RUNNING for node in client.get_task("halted").nodes)

    wait_for(training, seconds=120)
    start = time.monotonic()
    assert inkwright.inkctl("task", "terminate", "halted").returncode == 0
    assert time.monotonic() - start < 5.0 + 2.0  # two seconds for the command line itself
    task = client.get_task("halted")
    assert task.state == task_pb2.Task.TERMINATED
    assert (task.end_time.ToDatetime() - task.create_time.ToDatetime()).total_seconds() > 0
    assert not task.model


def ensure_dataset(client: Inkwright, folder: Path) -> None:
    """Create the data set where a test runs alone."""
    if not any(dataset.name.endswith("/cards") for dataset in client.list_datasets()):
        client.create_dataset("cards", path=str(folder))
    wait_for(lambda: client.get_dataset("cards").state == dataset_pb2.Dataset.READY, seconds=30)
