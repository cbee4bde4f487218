"""The trainer's models: bases, bundles brought and read, retirement. Real nats-server, real database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inkwright.inference.v1 import deployment_pb2, inference_events_pb2
from inkwright.trainer.v1 import model_pb2, trainer_events_pb2, trainer_service_pb2
from libs.runtime.errors import Fault, InvalidInput, NotFound
from libs.runtime.grpc_client import call, stream, upload
from libs.runtime.testing import assert_eventually
from services.trainer.main import build_with
from tests.integration.conftest import Databases
from tests.integration.running import running
from tests.integration.tiny_bundle import write_tiny_bundle
from tests.integration.trainer_stage import Client, Stage, publish, stage

SMALL = "projects/default/models/small"


@pytest.fixture
async def scene(tmp_path: Path, databases: Databases) -> AsyncIterator[Stage]:
    write_tiny_bundle(tmp_path / "models" / "small.inkbundle")
    (tmp_path / "models" / "broken.inkbundle").write_bytes(b"no bundle")
    async with stage(tmp_path, [], models=tmp_path / "models") as scene:
        yield scene


async def bring(client: Client, name: str, data: bytes, *, complete: bool = True) -> model_pb2.Model:
    """Import a bundle in small pieces."""

    async def requests() -> AsyncIterator[trainer_service_pb2.ImportModelRequest]:
        yield trainer_service_pb2.ImportModelRequest(name=name)
        for start in range(0, len(data), 1000):
            yield trainer_service_pb2.ImportModelRequest(chunk=data[start : start + 1000])
        yield trainer_service_pb2.ImportModelRequest(complete=complete)

    return await upload(client.stub.ImportModel, requests())


async def read(client: Client, **which: str) -> bytes:
    """A bundle's bytes."""
    chunks = [reply.chunk async for reply in stream(client.stub.ReadBundle, trainer_service_pb2.ReadBundleRequest(**which))]
    return b"".join(chunks)


async def test_bases_are_registered_and_told_once(scene: Stage) -> None:
    heard: list[trainer_events_pb2.ModelRegistered] = []
    async with scene.follows(trainer_events_pb2.ModelRegistered, "model", heard):
        for _ in range(2):
            async with running(build_with(scene.settings)) as address, Client(address) as client:
                reply = await call(client.stub.ListModels, trainer_service_pb2.ListModelsRequest(parent="projects/default"))
                assert [model.name for model in reply.models] == [SMALL]
                await assert_eventually(lambda: len(heard) == 1)
        model = heard[0].model
        assert (model.name, model.origin, model.state) == (SMALL, model_pb2.Model.BASE, model_pb2.Model.READY)
        assert (model.num_characters, len(model.bundle_digest), not model.metrics) == (4, 64, True)
        bundle = write_tiny_bundle(scene.settings.models / "small.inkbundle", characters="abcd ")
        async with running(build_with(scene.settings)) as address, Client(address) as client:
            await assert_eventually(lambda: len(heard) == 2)
            assert (await call(client.stub.GetModel, trainer_service_pb2.GetModelRequest(name=SMALL))).bundle_digest == bundle.digest
        with pytest.raises(AssertionError):
            await assert_eventually(lambda: len(heard) > 2, 0.3)


async def test_a_damaged_base_is_left_out_and_the_others_serve(scene: Stage) -> None:
    (scene.settings.models / "damaged.inkbundle").write_bytes((scene.settings.models / "small.inkbundle").read_bytes()[:-100])
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        reply = await call(client.stub.ListModels, trainer_service_pb2.ListModelsRequest(parent="projects/default"))
        assert [model.name for model in reply.models] == [SMALL]


async def test_a_bundle_is_brought_and_read_back(scene: Stage, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "mine.inkbundle", name="mine", characters="xyz", fails_when_run=True)
    data = bundle.path.read_bytes()
    name = "projects/default/models/mine"
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        model = await bring(client, name, data)
        assert (model.origin, model.bundle_digest, model.num_characters) == (model_pb2.Model.IMPORTED, bundle.digest, 3)
        assert model.model_size["fp32"] == sum(entry.size_bytes for entry in bundle.manifest.files.values())
        assert await read(client, model=name) == data
        assert await read(client, bundle_digest=bundle.digest) == data
        listed = await call(client.stub.ListModels, trainer_service_pb2.ListModelsRequest(parent="projects/default", page_size=1))
        assert [model.name for model in listed.models] == [name]
        request = trainer_service_pb2.ListModelsRequest(parent="projects/default", page_size=1, page_token=listed.next_page_token)
        assert [model.name for model in (await call(client.stub.ListModels, request)).models] == [SMALL]
        for which in ({"model": "projects/default/models/none"}, {"bundle_digest": "0" * 64}):
            with pytest.raises(NotFound):
                await read(client, **which)


async def test_what_is_no_bundle_is_refused_and_leaves_nothing(scene: Stage, tmp_path: Path) -> None:
    data = write_tiny_bundle(tmp_path / "mine.inkbundle", name="mine").path.read_bytes()
    refused = [
        ("mine", data[:-200], "BUNDLE_INVALID"),
        ("mine", data.replace(b"ReduceMean", b"ReduceMoan"), "BUNDLE_INVALID"),
        ("mine", b"", "BUNDLE_INVALID"),
        ("not a name", data, "INVALID_NAME"),
        ("small", data, "ALREADY_EXISTS"),
    ]
    async with running(build_with(scene.settings)) as address, Client(address) as client:
        for model, sent, reason in refused:
            with pytest.raises(Fault) as caught:
                await bring(client, f"projects/default/models/{model}", sent)
            assert caught.value.reason == reason
        with pytest.raises(InvalidInput, match="broke off"):
            await bring(client, "projects/default/models/mine", data, complete=False)
        listed = await call(client.stub.ListModels, trainer_service_pb2.ListModelsRequest(parent="projects/default"))
        assert [model.name for model in listed.models] == [SMALL]
    assert not list(scene.settings.upload_folder.glob("*"))


async def test_a_model_in_use_cannot_be_retired(scene: Stage, tmp_path: Path) -> None:
    data = write_tiny_bundle(tmp_path / "mine.inkbundle", name="mine").path.read_bytes()
    name, deployment = "projects/default/models/mine", "projects/default/deployments/till"
    retire = trainer_service_pb2.RetireModelRequest(name=name)
    retired: list[trainer_events_pb2.ModelRetired] = []

    async def tell(**fields: object) -> None:
        fact = inference_events_pb2.DeploymentStateChanged(deployment=deployment, model=name, **fields)  # type: ignore[arg-type]
        await publish(scene.bus, fact, service="inference", resource="deployment", id="till")

    async with running(build_with(scene.settings)) as address, Client(address) as client:

        async def deployments() -> list[str]:
            return list((await call(client.stub.GetModel, trainer_service_pb2.GetModelRequest(name=name))).deployments)

        async def is_used_by(names: list[str]) -> None:
            assert await deployments() == names

        await bring(client, name, data)
        await tell(state=deployment_pb2.Deployment.STOPPED)
        await assert_eventually(lambda: is_used_by([deployment]))
        with pytest.raises(Fault) as caught:
            await call(client.stub.RetireModel, retire)
        assert (caught.value.reason, caught.value.metadata["deployments"]) == ("MODEL_IN_USE", deployment)
        await tell(deleted=True)
        await assert_eventually(lambda: is_used_by([]))
        async with scene.follows(trainer_events_pb2.ModelRetired, "model", retired):
            assert (await call(client.stub.RetireModel, retire)).state == model_pb2.Model.RETIRED
            await assert_eventually(lambda: [fact.model for fact in retired] == [name])
        for model, reason in ((name, "MODEL_RETIRED"), (SMALL, "WRONG_STATE")):
            with pytest.raises(Fault) as caught:
                await call(client.stub.RetireModel, trainer_service_pb2.RetireModelRequest(name=model))
            assert caught.value.reason == reason
        # What runs it may still fetch it.
        assert await read(client, model=name) == data
