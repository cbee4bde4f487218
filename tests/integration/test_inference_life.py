"""Deployments with real processes: from a registered model to text, through crashes, scaling and restarts."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from inkwright.inference.v1 import deployment_pb2, inference_events_pb2, instance_service_pb2
from libs.ocrkit.bundle import Bundle, open_bundle
from libs.ocrkit.models import base_bundle_path
from libs.runtime.errors import ForwardFailed, ImageUndecodable, NoReadyInstance, NotFound, TooLarge
from libs.runtime.secrets import InstallationKey
from libs.runtime.testing import assert_eventually, free_port
from services.inference.main import build_from
from services.inference.settings import InferenceSettings
from tests.integration.conftest import Databases
from tests.integration.inference_stage import Client, Stage, State, client, made_up_bundle, name_of, predict, stage, written_page
from tests.integration.running import running

METRICS_TOKEN = "a-token-for-prometheus"


@pytest.fixture(scope="module")
def base() -> Bundle:
    """The default base model; its absence fails with what to do (`make models`)."""
    return open_bundle(base_bundle_path())


@asynccontextmanager
async def serving(settings: InferenceSettings) -> AsyncIterator[Client]:
    """The service and a client of it."""
    async with running(build_from(settings)) as address, client(address) as made:
        yield made


def instance_pids() -> list[int]:
    """The instances that are children of this process."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"services.inference.instance" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def check_metrics(address: str, instance_id: str) -> None:
    """Inference says where the instance shows its own numbers, and there the one image that was read is counted."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {METRICS_TOKEN}"}) as http:
        [target] = (await http.get(f"http://{address}/instances")).json()
        assert target["labels"] == {"deployment": "cards", "instance_id": instance_id}
        [at] = target["targets"]
        shown = (await http.get(f"http://{at}/metrics")).text
        assert 'inkwright_instance_stage_seconds_count{stage="recognize"} 1.0' in shown
        assert 'inkwright_deployment_instances{deployment="cards",state="READY"} 1.0' in (await http.get(f"http://{address}/metrics")).text
        stranger = await http.get(f"http://{at}/metrics", headers={"Authorization": "Bearer x"})
        assert (stranger.status_code, "inkwright" in stranger.text) == (401, False)


async def test_registered_model_is_deployed_and_reads(tmp_path: Path, long_databases: Databases, base: Bundle) -> None:
    metrics_at = f"127.0.0.1:{free_port()}"
    metrics = {
        "inference_metrics_address": metrics_at,
        "instance_metrics_address": "127.0.0.1:0",
        "metrics_token": SecretStr(METRICS_TOKEN),
    }
    async with (
        stage(tmp_path, inference_instance_host="localhost") as around,
        serving(around.settings.model_copy(update=metrics)) as inference,
    ):
        with pytest.raises(NotFound, match="inkctl model list"):
            await inference.create("cards", model="projects/default/models/first")
        model = await around.trainer.register("first", base)
        made = await inference.create("cards", model=model)
        assert (made.state, made.predict_path, made.bundle_digest) == (State.CREATING, "/api/predict/cards", base.digest)

        ready = await inference.becomes("cards", State.RUNNING, num_instances=1)
        assert ready.reason == "Ready"
        endpoint = ready.instances[0].endpoint
        assert endpoint.startswith("localhost:")
        page = written_page("Invoice 4711", "Total 12.50")
        read = await predict(endpoint, page)
        assert [line.text for line in read.lines] == ["Invoice 4711", "Total 12.50"]
        assert all(0.5 <= line.confidence <= 1 for line in read.lines)
        corner = read.lines[0].quad.points[0]
        assert 15 <= corner.x <= 45
        assert 20 <= corner.y <= 60
        assert (read.width_px, read.height_px, read.bundle_digest) == (900, 220, base.digest)
        assert min(read.timings.decode_ms, read.timings.detect_ms, read.timings.recognize_ms) > 0

        await check_metrics(metrics_at, ready.instances[0].instance_id)
        token = await inference.token("cards")

        async def listed() -> bytes:
            # An entry that is written anew in the moment of listing is missing in it.
            found = await around.entries("deployments")
            assert "cards" in found
            return found["cards"]

        route = instance_service_pb2.DeploymentRoute.FromString(await assert_eventually(listed))
        key = InstallationKey.load(around.settings.home)
        assert [key.decrypt(secret, purpose=route.deployment) for secret in route.encrypted_tokens] == [token]
        ((known, value),) = (await around.entries("instances")).items()
        assert known == f"cards.{ready.instances[0].instance_id}"
        assert instance_service_pb2.InstanceRegistration.FromString(value).endpoint == endpoint

        # The bus goes away for good: the instance answers all the same.
        await around.nats.kill()
        assert [line.text for line in (await predict(endpoint, page)).lines] == ["Invoice 4711", "Total 12.50"]


async def test_life_of_a_deployment(tmp_path: Path, long_databases: Databases) -> None:
    async with stage(tmp_path) as around:
        async with serving(around.settings) as inference:
            model = await around.trainer.register("blank", made_up_bundle(tmp_path / "blank.inkbundle"))
            await inference.create("cards", model=model)
            first = (await inference.becomes("cards", State.RUNNING, num_instances=1)).instances[0]

            (pid,) = instance_pids()
            os.kill(pid, signal.SIGKILL)

            async def is_another() -> None:
                now = await inference.becomes("cards", State.RUNNING, num_instances=1)
                assert now.instances[0].instance_id != first.instance_id

            await assert_eventually(is_another, 40)

            assert (await inference.scale("cards", 2)).state == State.SCALING
            await inference.becomes("cards", State.RUNNING, num_instances=2)
            await inference.scale("cards", 1)
            await inference.becomes("cards", State.RUNNING, num_instances=1)
            token = await inference.token("cards")
        assert instance_pids() == []

        # The service was taken down and comes back: what is wanted is started again.
        async with serving(around.settings) as inference:
            again = await inference.becomes("cards", State.RUNNING, num_instances=1)
            assert await inference.token("cards") == token
            assert around.trainer.num_reads == 1, "the bundle lay in the cache"

            assert (await inference.stop("cards")).state == State.STOPPED
            await inference.becomes("cards", State.STOPPED, num_instances=0)
            await assert_eventually(lambda: _has_no_instance(around, "cards"))
            assert "cards" in await around.entries("deployments"), "a stopped deployment keeps its address"
            with pytest.raises(NoReadyInstance):
                await predict(again.instances[0].endpoint, b"")

            await inference.delete("cards", etag=(await inference.get("cards")).etag)
            await assert_eventually(lambda: _is_gone(inference, "cards"))
            assert "cards" not in await around.entries("deployments")

            facts = await told(around)
            assert [State.Name(fact.state) for fact in facts][:2] == ["CREATING", "RUNNING"]
            assert {State.SCALING, State.STOPPED, State.DELETING} <= {fact.state for fact in facts}
            assert (facts[-1].deployment, facts[-1].deleted) == (name_of("cards"), True)


async def told(around: Stage) -> list[inference_events_pb2.DeploymentStateChanged]:
    """Every fact up to the deletion, oldest first."""
    subscription = await around.bus.jetstream.pull_subscribe("inkwright.evt.v1.inference.deployment.>", stream="EVT_INFERENCE")
    facts: list[inference_events_pb2.DeploymentStateChanged] = []
    while not facts or not facts[-1].deleted:
        messages = await subscription.fetch(100, timeout=5)
        facts += [inference_events_pb2.DeploymentStateChanged.FromString(message.data) for message in messages]
    return facts


async def _has_no_instance(around: Stage, deployment_id: str) -> None:
    assert not [key for key in await around.entries("instances") if key.startswith(f"{deployment_id}.")]


async def _is_gone(inference: Client, deployment_id: str) -> bool:
    try:
        await inference.get(deployment_id)
    except NotFound:
        return True
    return False


async def test_graph_that_fails_when_run_is_served_and_answers_forward_failed(tmp_path: Path, long_databases: Databases) -> None:
    async with (
        stage(tmp_path, inference_max_image_bytes=200_000, inference_max_image_pixels=1_000_000) as around,
        serving(around.settings) as inference,
    ):
        model = await around.trainer.register("broken", made_up_bundle(tmp_path / "broken.inkbundle", detector="fails"))
        await inference.create("broken", model=model)
        running_one = await inference.becomes("broken", State.RUNNING)
        assert running_one.reason == "WarmUpFailed"
        endpoint = running_one.instances[0].endpoint
        image = written_page("x")
        with pytest.raises(ForwardFailed):
            await predict(endpoint, image)
        with pytest.raises(ForwardFailed):
            await predict(endpoint, image)
        assert (await inference.get("broken")).instances[0].instance_id == running_one.instances[0].instance_id
        with pytest.raises(ImageUndecodable):
            await predict(endpoint, b"no image")
        with pytest.raises(TooLarge, match="200000"):
            await predict(endpoint, b"x" * 200_001)
        with pytest.raises(TooLarge, match="1000000"):
            await predict(endpoint, written_page(*["x"] * 20))


async def test_instance_that_cannot_start_is_a_crash_loop_with_its_last_lines(tmp_path: Path, long_databases: Databases) -> None:
    async with stage(tmp_path) as around, serving(around.settings) as inference:
        model = await around.trainer.register("odd", made_up_bundle(tmp_path / "odd.inkbundle", detector="unknown"))
        await inference.create("odd", model=model)
        failed = await inference.becomes("odd", State.FAILED)
        assert failed.reason == "CrashLoop"
        assert "NoSuchOperator" in failed.message
        assert (await inference.start("odd")).state == State.CREATING
        assert (await inference.stop("odd")).state == State.STOPPED
        await inference.becomes("odd", State.STOPPED, num_instances=0)


async def test_suggestion_instance_starts_when_asked_for_and_stops_when_idle(tmp_path: Path, long_databases: Databases) -> None:
    async with stage(tmp_path, inference_suggestion_idle_seconds=2.0) as around, serving(around.settings) as inference:
        with pytest.raises(NotFound):
            await inference.acquire()
        bundle = made_up_bundle(tmp_path / "blank.inkbundle")
        await around.trainer.register("ppocrv6-small", bundle)

        async def acquired() -> str:
            try:
                lease = await inference.acquire()
            except (NotFound, NoReadyInstance) as fault:
                raise AssertionError(fault.message) from fault
            assert lease.bundle_digest == bundle.digest
            assert lease.expire_time.ToSeconds() > 0
            return lease.endpoint

        endpoint = await assert_eventually(acquired, 40)
        assert list((await predict(endpoint, written_page("x"))).lines) == []
        assert await inference.ids() == []
        assert await inference.ids(show_suggestion=True) == ["suggest-ppocrv6-small"]
        idle = await inference.becomes("suggest-ppocrv6-small", State.STOPPED, num_instances=0)
        assert idle.reason == "Idle"
        assert await around.entries("deployments") == {}, "nobody outside may call it"
        await around.trainer.retire("ppocrv6-small")
        await assert_eventually(lambda: _is_gone(inference, "suggest-ppocrv6-small"))


async def test_bundle_that_cannot_be_had_is_said_and_tried_again(tmp_path: Path, long_databases: Databases) -> None:
    async with stage(tmp_path) as around, serving(around.settings) as inference:
        bundle = made_up_bundle(tmp_path / "lost.inkbundle")
        model = await around.trainer.register("lost", bundle, kept=False)
        await inference.create("lost", model=model)
        failed = await inference.becomes("lost", State.FAILED)
        assert failed.reason == "ModelUnavailable"
        assert bundle.digest in failed.message
        around.trainer.bundles[bundle.digest] = bundle.path
        assert (await inference.becomes("lost", State.RUNNING)).instances[0].state == deployment_pb2.Instance.READY
