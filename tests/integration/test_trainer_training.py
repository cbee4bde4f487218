"""A whole task with real training, its interruption and its termination. Real nats-server, database and children."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inkwright.trainer.v1 import model_pb2, task_pb2, trainer_events_pb2, trainer_service_pb2
from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.models import models_dir
from libs.runtime.child import Child
from libs.runtime.grpc_client import call, stream
from libs.runtime.testing import assert_eventually, can_connect, free_port
from services.trainer.main import build_with
from tests.integration.conftest import Databases
from tests.integration.running import running
from tests.integration.trainer_stage import Client, Stage, draw_page, ended, node, stage

METRICS = {"loss", "line_accuracy", "cer", "hmean_exact", "hmean_folded", "detection_hmean", "retained_characters"}


@pytest.fixture
async def scene(tmp_path: Path, long_databases: Databases) -> AsyncIterator[Stage]:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "ppocrv6-small.inkbundle").symlink_to(models_dir() / "ppocrv6-small.inkbundle")
    pages = [draw_page(number) for number in range(4)] + [draw_page(4, labeled=False)]
    async with stage(tmp_path, pages, models=tmp_path / "models") as scene:
        yield scene


@asynccontextmanager
async def trainer_process(scene: Stage, port: int) -> AsyncIterator[Child]:
    """The trainer in a process of its own, so that it can be killed."""
    settings = scene.settings
    env = {
        "INKWRIGHT_HOME": str(settings.home),
        "INKWRIGHT_MODELS": str(settings.models),
        "INKWRIGHT_NATS_URL": settings.nats_url,
        "INKWRIGHT_DATASET_ADDRESS": settings.dataset_address,
        "INKWRIGHT_TRAINER_ADDRESS": f"127.0.0.1:{port}",
        "INKWRIGHT_TRAINER_LEASE_SECONDS": "2",
        "INKWRIGHT_TRAINER_MAX_TRAINING_SECONDS": str(settings.trainer_max_training_seconds),
    }
    child = await Child.start([sys.executable, "-m", "services.trainer.main"], name="trainer", env=env, log_line=lambda _line: None)
    try:
        await assert_eventually(lambda: can_connect(port), 30)
        yield child
    finally:
        await child.terminate()


async def runs(client: Client, task_id: str, node_id: str) -> task_pb2.Task:
    """Wait until a node has told that it is past its start."""

    async def check() -> task_pb2.Task:
        task = await client.task(task_id)
        assert task.state == task_pb2.Task.RUNNING, task.error_message
        assert node(task, node_id).state == task_pb2.Node.RUNNING
        assert node(task, node_id).progress > 0
        return task

    return await assert_eventually(check, 60)


@pytest.mark.timeout(300)
@pytest.mark.long
async def test_a_task_is_finished_although_the_trainer_is_killed_in_the_middle(scene: Stage, tmp_path: Path) -> None:
    progressed: list[trainer_events_pb2.NodeProgressed] = []
    registered: list[trainer_events_pb2.ModelRegistered] = []
    port = free_port()
    async with (
        scene.follows(trainer_events_pb2.NodeProgressed, "task", progressed),
        scene.follows(trainer_events_pb2.ModelRegistered, "model", registered),
        Client(f"127.0.0.1:{port}") as client,
    ):
        async with trainer_process(scene, port) as trainer:
            await client.create("receipts")
            await runs(client, "receipts", "train-recognizer")
            await trainer.terminate(0)
        async with trainer_process(scene, port):
            task = await ended(client, "receipts", task_pb2.Task.SUCCEEDED, seconds=180)
            assert node(task, "train-recognizer").attempt == 2
            assert node(task, "snapshot").attempt == 1
            states = {one.node_id: task_pb2.Node.State.Name(one.state) for one in task.nodes}
            skipped = {one for one, state in states.items() if state == "SKIPPED"}
            assert skipped == {"build-engine"}
            assert set(states.values()) == {"SKIPPED", "SUCCEEDED"}
            assert task.progress == pytest.approx(1.0)

            assert task.model == "projects/default/models/receipts"
            model = await call(client.stub.GetModel, trainer_service_pb2.GetModelRequest(name=task.model))
            assert (model.origin, model.state, model.task) == (model_pb2.Model.TRAINED, model_pb2.Model.READY, task.name)
            assert (model.base, model.dataset_version) == ("projects/default/models/ppocrv6-small", task.version)
            assert set(model.metrics) == set(model.base_metrics) == METRICS
            assert 0.0 <= model.metrics["line_accuracy"] <= 1.0
            assert model.model_size["fp32"] > 1_000_000
            assert model.gate.reasons
            assert await assert_eventually(lambda: [fact.model for fact in registered if fact.model.task] or False) == [model]

            path = tmp_path / "read.inkbundle"
            request = trainer_service_pb2.ReadBundleRequest(bundle_digest=model.bundle_digest)
            path.write_bytes(b"".join([reply.chunk async for reply in stream(client.stub.ReadBundle, request)]))
            assert open_bundle(path).digest == model.bundle_digest
            assert "mode fast" in await client.text_of_log("receipts")
    assert not list(scene.settings.task_folder.iterdir())
    told = [fact.task_progress for fact in progressed]
    assert max(told) == pytest.approx(1.0)
    assert {fact.node.node_id for fact in progressed} == set(states)


async def test_terminate_in_the_middle_of_training_takes_less_than_five_seconds(scene: Stage) -> None:
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        await client.create("unwanted")
        await runs(client, "unwanted", "train-recognizer")
        began = time.monotonic()
        assert (await client.terminate("unwanted")).state == task_pb2.Task.TERMINATING
        await client.terminate("unwanted")
        task = await ended(client, "unwanted", task_pb2.Task.TERMINATED)
        assert time.monotonic() - began < 5
        assert node(task, "train-recognizer").state == task_pb2.Node.TERMINATED
        assert node(task, "snapshot").state == task_pb2.Node.SUCCEEDED
        await assert_eventually(lambda: not list(scene.settings.task_folder.iterdir()))
        models = await call(client.stub.ListModels, trainer_service_pb2.ListModelsRequest(parent="projects/default"))
        assert [model.origin for model in models.models] == [model_pb2.Model.BASE]

        async def no_job_is_left() -> None:
            assert (await scene.bus.jetstream.stream_info("JOBS_TRAIN")).state.messages == 0

        await assert_eventually(no_job_is_left)


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        (("main", "node_main", "nodes.snapshot", "nodes.preflight", "nodes.split"), "torch"),
        (("node_main", "nodes.train_recognizer", "nodes.package", "nodes.evaluate", "nodes.gate"), "grpc"),
    ],
    ids=["no torch beside gRPC", "no gRPC beside torch"],
)
async def test_torch_and_grpc_never_meet_in_one_process(modules: tuple[str, ...], forbidden: str) -> None:
    imports = ", ".join(f"services.trainer.{module}" for module in modules)
    code = f"import sys, {imports}; sys.exit('{forbidden}' in sys.modules)"
    child = await Child.start([sys.executable, "-c", code], name=forbidden, log_line=lambda _line: None)
    async for _ in child.events():
        pass
    assert (await child.wait()).ok
