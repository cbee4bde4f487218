"""A backup of an installation at work, restored into a second home: nothing that was acknowledged before it is lost, nothing invented."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from inkwright.dataset.v1 import dataset_events_pb2
from inkwright.inference.v1 import deployment_pb2
from inkwright.trainer.v1 import task_pb2
from libs.client.rest import RestClient
from libs.demo.installation import Running, installation
from libs.runtime.bus import Bus
from libs.runtime.secrets import InstallationKey
from libs.runtime.settings import BUS_USER, bus_password
from libs.runtime.subjects import fact_subject
from tests.chaos.checker import violations
from tests.chaos.history import Call, Outcome
from tests.chaos.storm import Storm
from tests.e2e.steps import wait_for, wait_running
from tests.integration.tiny_bundle import write_tiny_bundle
from tests.postgres import postgres_server

SERVICES = ("dataset", "labeling", "trainer", "inference", "gateway")
WORK_SECONDS = 3.0
PASSWORD = "a long enough password"


@pytest.fixture(params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest) -> Iterator[list[dict[str, str]]]:
    """Settings of the databases, of the first installation and of the one that is restored."""
    if request.param == "sqlite":
        yield [{}, {}]
        return
    with postgres_server() as server:
        names = [server.new_database() for _ in range(2)]
        yield [{f"INKWRIGHT_{service.upper()}_DATABASE_URL": server.url(service, name) for service in SERVICES} for name in names]


def inkctl(*arguments: str, env: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line on the machine of the installation."""
    command = [sys.executable, "-c", "from libs.client.cli import main; main()", *arguments]
    return subprocess.run(command, env=os.environ | env, input=stdin, capture_output=True, text=True, timeout=300, check=False)


def bury_something(running: Running) -> None:
    """Tell the labeling service what nobody can read."""

    async def tell() -> None:
        listens = (running.home / "nats" / "nats.conf").read_text().split('listen: "')[1].split('"')[0]
        bus = await Bus.connect(f"nats://{BUS_USER}:{bus_password(InstallationKey.load(running.home))}@{listens}", name="test")
        subject = fact_subject("dataset", "image", dataset_events_pb2.ImageRemoved, "x")
        await bus.publish(subject, b"\xff\xff", message_id="garbled")
        await bus.close()

    asyncio.run(tell())
    wait_for(lambda: running.client.list_dead_letters(), seconds=30)


def signs_in(running: Running) -> bool:
    """Whether ann's password is hers."""
    rest = RestClient(running.url, "")
    try:
        return bool(rest.sign_in("ann", PASSWORD))
    finally:
        rest.close()


@pytest.mark.timeout(600)
def test_what_was_acknowledged_before_the_backup_is_there_after_a_restore(tmp_path: Path, places: list[dict[str, str]]) -> None:
    roots, file = tmp_path / "roots", tmp_path / "backup.ink"
    for folder in (roots, tmp_path / "chaos"):
        folder.mkdir()
    with installation(tmp_path / "first", roots, env=places[0]) as first, ExitStack() as stack:
        people = Storm(first, roots, tmp_path / "chaos", 3)
        stack.callback(people.close)
        people.prepare()
        write_tiny_bundle(tmp_path / "tiny.inkbundle")
        first.client.import_model("tiny", tmp_path / "tiny.inkbundle")
        first.client.create_deployment("reader", deployment_pb2.Deployment(model="tiny", num_instances=1))
        wait_running(first.client, "reader")
        token = first.client.reveal_token("reader")
        ann = inkctl("user", "create", "ann", "--role", "viewer", "--password-stdin", env=connection(first), stdin=PASSWORD)
        assert ann.returncode == 0, ann.stderr
        bury_something(first)
        first.client.create_task("cards", task_pb2.Task(dataset="cards"))
        wait_for(lambda: first.client.get_task("cards").nodes[0].state == task_pb2.Node.SUCCEEDED, seconds=120)
        with people.at_work():
            time.sleep(WORK_SECONDS)
            num_calls = len(people.history.calls)
            before = [replace(call) for call in people.history.calls]
            made = inkctl("backup", str(file), "--home", str(first.home), env=places[0])
            assert made.returncode == 0, made.stderr
            num_calls_after = len(people.history.calls)
            time.sleep(WORK_SECONDS)
        letters = [(letter.name, letter.durable, letter.bury_time.ToNanoseconds()) for letter in first.client.list_dead_letters()]
        first.client.terminate_task("cards")
    # People did not stand still meanwhile, and the file holds nobody else's business.
    assert num_calls_after - num_calls > 5
    assert file.stat().st_mode & 0o777 == 0o600
    assert inkctl("backup", "--check", str(file), env={}).returncode == 0

    restored = inkctl("restore", str(file), "--home", str(tmp_path / "second"), env=places[1])
    assert restored.returncode == 0, restored.stderr
    with installation(tmp_path / "second", roots, env=places[1]) as second, ExitStack() as stack:
        assert second.token == first.token
        moved = people.moved(second)
        stack.callback(moved.close)
        moved.history.calls = as_of_the_backup(people.history.calls, before)
        assert [(letter.name, letter.durable, letter.bury_time.ToNanoseconds()) for letter in second.client.list_dead_letters()] == letters
        assert signs_in(second)
        wait_running(second.client, "reader")
        assert second.client.reveal_token("reader") == token
        wait_for(lambda: begins_again(second), seconds=120)
        second.client.terminate_task("cards")
        seen = moved.seen()
        seen.num_dead_letters -= len(letters)
        # The task and the deployment are the test's own, looked at above.
        seen.tasks, seen.versions, seen.deployments = {}, (), {}
        assert violations(moved.history.calls, seen) == []


def begins_again(running: Running) -> bool:
    """Whether the task that was under way has done its first node another time."""
    lines = [line.message for line in running.client.task_logs("cards")]
    node = running.client.get_task("cards").nodes[0]
    return any("begins again" in line for line in lines) and node.state == task_pb2.Node.SUCCEEDED


def as_of_the_backup(calls: list[Call], before: list[Call]) -> list[Call]:
    """What is known of each call to whoever knows the backup alone: what had no answer before it began may or may not be in it."""
    answered = {call.number for call in before if call.ended is not None}
    return [call if call.number in answered else replace(call, outcome=Outcome.UNKNOWN) for call in calls]


def connection(running: Running) -> dict[str, str]:
    return {"INKWRIGHT_URL": running.url, "INKWRIGHT_TOKEN": running.token}
