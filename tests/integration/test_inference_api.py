"""What the inference service refuses and remembers; no instance is needed for that."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inkwright.inference.v1 import deployment_pb2, inference_service_pb2
from libs.runtime.db import Database
from libs.runtime.errors import AlreadyExists, Conflict, InvalidInput, NoReadyInstance, NotFound, WrongState
from libs.runtime.grpc_client import call
from libs.runtime.names import InvalidName
from libs.runtime.secrets import InstallationKey
from libs.runtime.testing import assert_eventually
from services.inference import actions
from services.inference.deps import Deps
from services.inference.domain import ModelRetired
from services.inference.main import build_from
from services.inference.quota import QuotaExceeded, ResourceTypeUnknown
from services.inference.store import InferenceWork
from tests.integration.conftest import Databases
from tests.integration.inference_stage import PROJECT, Client, State, client, made_up_bundle, name_of, stage
from tests.integration.running import running


@asynccontextmanager
async def world(folder: Path, **settings: object) -> AsyncIterator[tuple[Client, str]]:
    """A service and the name of a model whose bundle cannot be had: its deployments never start a process."""
    async with stage(folder, **settings) as around, running(build_from(around.settings)) as address, client(address) as inference:
        model = await around.trainer.register("paper", made_up_bundle(folder / "paper.inkbundle"), kept=False)
        gone = await around.trainer.register("old", made_up_bundle(folder / "old.inkbundle"), kept=False)
        await around.trainer.retire("old")

        async def is_retired() -> None:
            with pytest.raises(ModelRetired):
                await inference.acquire(gone)

        await assert_eventually(lambda: _holds(is_retired))
        yield inference, model


async def _holds(check: object) -> bool:
    try:
        await check()  # type: ignore[operator]
    except (Conflict, NotFound, NoReadyInstance, pytest.fail.Exception):
        return False
    return True


async def test_refusals_name_what_is_wrong(tmp_path: Path, databases: Databases) -> None:
    async with world(tmp_path, inference_memory_mb=5000) as (inference, model):
        with pytest.raises(NotFound, match="paper"):
            await inference.create("cards", model=f"{PROJECT}/models/unknown")
        with pytest.raises(InvalidName):
            await inference.create("cards", model="unknown")
        with pytest.raises(ModelRetired, match="retired"):
            await inference.create("cards", model=f"{PROJECT}/models/old")
        with pytest.raises(InvalidName):
            await inference.create("no spaces", model=model)
        with pytest.raises(InvalidName, match="suggest-"):
            await inference.create("suggest-paper", model=model)
        with pytest.raises(ResourceTypeUnknown, match="cpu-1"):
            await inference.create("cards", model=model, resource_type="gpu-9")
        with pytest.raises(InvalidInput, match="64"):
            await inference.create("cards", model=model, num_instances=65)
        with pytest.raises(InvalidInput):
            await inference.create("cards", model=model, quota=deployment_pb2.Quota(cores=-1))
        with pytest.raises(QuotaExceeded, match=r"6000 MB.* but 5000 are free"):
            await inference.create("cards", model=model, quota=deployment_pb2.Quota(memory_mb=6000))
        with pytest.raises(QuotaExceeded, match="5000 cores"):
            await inference.create("cards", model=model, quota=deployment_pb2.Quota(cores=5000))
        with pytest.raises(QuotaExceeded, match=r"1 GPUs.* but 0"):
            await inference.create("cards", model=model, quota=deployment_pb2.Quota(gpus=1))
        with pytest.raises(NotFound, match="inkctl deploy list"):
            await inference.get("cards")
        assert await inference.ids() == []


async def test_quota_counts_what_the_others_were_promised(tmp_path: Path, databases: Databases) -> None:
    async with world(tmp_path, inference_memory_mb=5000) as (inference, model):
        await inference.create("first", model=model, quota=deployment_pb2.Quota(memory_mb=2000), num_instances=2)
        with pytest.raises(QuotaExceeded, match="but 1000 are free"):
            await inference.create("second", model=model, quota=deployment_pb2.Quota(memory_mb=2000))
        with pytest.raises(QuotaExceeded, match=r"6000 MB.* but 5000 are free"):
            await inference.scale("first", 3)
        await inference.stop("first")
        await inference.create("second", model=model, quota=deployment_pb2.Quota(memory_mb=2000))
        with pytest.raises(QuotaExceeded, match="but 3000 are free"):
            await inference.start("first")
        request = inference_service_pb2.ListResourceTypesRequest(parent=PROJECT, page_size=2)
        types = await call(inference.stub.ListResourceTypes, request)
        smallest = types.resource_types[0]
        assert (smallest.type_id, smallest.quota.cores, smallest.num_available) == ("cpu-1", 1.0, 3000 // smallest.quota.memory_mb)
        request.page_token = types.next_page_token
        assert len((await call(inference.stub.ListResourceTypes, request)).resource_types) == 2


async def test_repeated_create_gives_the_first_answer(tmp_path: Path, databases: Databases) -> None:
    async with world(tmp_path) as (inference, model):
        first = await inference.create("cards", model=model, request_id="r-1")
        again = await inference.create("other", model=model, request_id="r-1")
        assert (again.name, again.create_time) == (first.name, first.create_time)
        with pytest.raises(AlreadyExists):
            await inference.create("cards", model=model)
        token = await inference.token("cards")
        assert len(token) == 56
        await inference.stop("cards")
        with pytest.raises(Conflict):
            await inference.delete("cards", etag=first.etag)
        await inference.delete("cards", etag=(await inference.get("cards")).etag)
        with pytest.raises((WrongState, NotFound)):
            await inference.scale("cards", 2)

        async def is_free_again() -> None:
            try:
                await inference.create("cards", model=model)
            except AlreadyExists as fault:
                raise AssertionError(fault.message) from fault

        await assert_eventually(is_free_again)
        assert await inference.token("cards") != token


async def test_a_token_of_another_key_is_said(tmp_path: Path, databases: Databases) -> None:
    async with stage(tmp_path) as around:
        async with running(build_from(around.settings)) as address, client(address) as inference:
            model = await around.trainer.register("paper", made_up_bundle(tmp_path / "paper.inkbundle"), kept=False)
            name = (await inference.create("cards", model=model)).name
        database = Database(around.settings.database_url)
        (tmp_path / "other").mkdir()
        deps = Deps(database.work(InferenceWork), around.settings, InstallationKey.load(tmp_path / "other"), lambda: None)
        with pytest.raises(WrongState, match=r"another secret\.key"):
            await actions.reveal_token(deps, name)
        await database.close()


async def test_list_is_paged_newest_first(tmp_path: Path, databases: Databases) -> None:
    async with world(tmp_path) as (inference, model):
        for number in range(5):
            await inference.create(f"d{number}", model=model)
            await inference.stop(f"d{number}")
        request = inference_service_pb2.ListDeploymentsRequest(parent=PROJECT, page_size=2)
        found: list[str] = []
        while True:
            page = await call(inference.stub.ListDeployments, request)
            assert len(page.deployments) <= 2
            found += [deployment.name for deployment in page.deployments]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert found == [name_of(f"d{number}") for number in (4, 3, 2, 1, 0)]
        assert (await inference.get("d0")).state == State.STOPPED
