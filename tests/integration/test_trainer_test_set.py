"""A version of two datasets with a test set, from the real dataset service through the nodes of a task."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from inkwright.dataset.v1 import dataset_service_pb2, version_pb2
from libs.ocrkit.models import models_dir
from libs.ocrkit.near_duplicates import MAX_DISTANCE, dhash_of_file
from libs.runtime.grpc_client import call
from services.trainer.nodes import evaluate, package, preflight, snapshot, split, train_detector, train_recognizer
from services.trainer.nodes.pages import split_pages
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, read_json
from tests.integration.pictures import write_labels
from tests.integration.world import PROJECT, World, dataset_world
from tests.trust import CREDENTIALS

NUM_PAGES = 10
"""Of each dataset, under the same keys."""


@dataclass
class Scene:
    """A frozen version and where its task would work."""

    spec: NodeSpec
    out: io.StringIO
    report: Report

    def info(self) -> dict[str, str]:
        """All facts that the nodes have told."""
        told: dict[str, str] = {}
        for line in self.out.getvalue().splitlines():
            event = json.loads(line)
            if event["type"] == "info":
                told |= event["values"]
        return told


def drawn(number: int) -> NDArray[np.uint8]:
    """A page whose ground looks like that of no other number, with two lines of text."""
    ground = np.random.default_rng(number).integers(170, 255, (9, 10, 3), dtype=np.uint8)
    page = cv2.resize(ground, (320, 140), interpolation=cv2.INTER_LINEAR)
    for line, top in enumerate((50, 105)):
        cv2.putText(page, f"No {number * 31 + line}", (20, top), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (20, 20, 20), 2, cv2.LINE_AA)
    return np.asarray(page, dtype=np.uint8)


def write_page(path: Path, image: NDArray[np.uint8], number: int) -> None:
    """The image with its label file."""
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    write_labels(
        path.with_suffix(".xml"), [(f"No {number * 31 + line}", (15, top - 30, 160, top + 8)) for line, top in enumerate((50, 105))]
    )


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with dataset_world(tmp_path) as running:
        yield running


@pytest.fixture
async def scene(world: World, tmp_path: Path) -> Scene:
    """Snapshot, preflight and split are done."""
    other = world.apart("receipts")
    for number in range(NUM_PAGES):
        write_page(world.folder / f"{number}.png", drawn(number), number)
        write_page(other.folder / f"{number}.png", drawn(100 + number), 100 + number)
    # The same sheet as a test page, saved darker and as a JPEG, in the other dataset.
    write_page(other.folder / "again.jpg", (drawn(2) * 0.9).astype(np.uint8), 2)
    for one in (world, other):
        await one.indexed()
    marked = version_pb2.SetTestImagesRequest(parent=world.name, is_test=True, keys=["2.png", "7.png"])
    await call(world.dataset.SetTestImages, marked)
    freeze = dataset_service_pb2.FreezeDatasetRequest(name=world.name, request_id="t", further_datasets=[other.name])
    version = await call(world.dataset.FreezeDataset, freeze)
    base = f"{PROJECT}/models/ppocrv6-small"
    spec = NodeSpec(
        node_id="snapshot",
        task=f"{PROJECT}/tasks/t",
        version=version.name,
        dataset_address=world.dataset_address,
        access_token=CREDENTIALS.token(),
        tls=None,
        folder=tmp_path / "task",
        base=base,
        bases={base: str(models_dir() / "ppocrv6-small.inkbundle")},
        mode="FAST",
        validation_fraction=0.1,
        num_threads=1,
        max_training_seconds=3.0,
        code_version="test",
    )
    out = io.StringIO()
    made = Scene(spec, out, Report(out))
    # A loop of its own, as in the process of a node.
    await asyncio.to_thread(snapshot.run, spec, made.report)
    preflight.run(spec, made.report)
    split.run(spec, made.report)
    return made


async def test_no_test_image_nor_what_looks_like_one_is_learnt(scene: Scene) -> None:
    parts = split_pages(scene.spec)
    train, validation, test = ({page.image.read_bytes() for page in part} for part in (parts.train, parts.validation, parts.test))
    assert (len(train), len(validation), len(test)) == (16, 2, 2)
    digests = {hashlib.sha256(data).hexdigest() for data in test}
    keys = {page["key"]: page["sha256"] for page in read_json(scene.spec.pages_file)}
    assert digests == {keys["cards/2.png"], keys["cards/7.png"]}
    for learnt in train | validation:
        assert hashlib.sha256(learnt).hexdigest() not in digests
        assert all((dhash_of_file(learnt) ^ dhash_of_file(tested)).bit_count() > MAX_DISTANCE for tested in test)
    assert "receipts/again.jpg is left out: it looks like cards/2.png of the test set" in scene.out.getvalue()
    told = scene.info()
    assert {name: told[name] for name in ("num_train", "num_validation", "num_test", "num_left_out", "num_groups", "seed")} == {
        "num_train": "16", "num_validation": "2", "num_test": "2", "num_left_out": "1", "num_groups": "18", "seed": split.SEED,
    }  # fmt: skip
    # Each page of each dataset has its own file, though keys and ids of images are the same in both.
    assert len(keys) == len({page["file"] for page in read_json(scene.spec.manifest_file)["pages"]}) == 2 * NUM_PAGES + 1


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_training_succeeds_where_the_test_images_are_out_of_reach(scene: Scene, tmp_path: Path) -> None:
    parts, spec = split_pages(scene.spec), scene.spec
    again = next(spec.images_folder / page["file"] for page in read_json(spec.pages_file) if page["key"] == "receipts/again.jpg")
    hidden = [*(page.image for page in parts.test), again]
    for path in hidden:
        path.rename(tmp_path / path.name)
    train_detector.run(spec, scene.report)
    train_recognizer.run(spec, scene.report)
    package.run(spec, scene.report)
    for path in hidden:
        (tmp_path / path.name).rename(path)
    evaluate.run(spec, scene.report)
    measured = read_json(spec.evaluation_file)
    for metrics in (measured["metrics"], measured["base_metrics"]):
        assert {"test_line_accuracy", "test_cer", "test_hmean_exact", "test_hmean_folded", "test_detection_hmean"} <= set(metrics)
    judged_by = {Path(line["page"]).name for line in measured["reports"]["trained"]["lines"]}
    assert judged_by == {page.image.name for page in parts.validation}
    assert scene.info()["num_test_lines"] == "4"
