"""The demo's flow while its processes die: twenty kills where each hurts, then the supervisor itself with all that it minds."""

import os
import signal
import time
from pathlib import Path

import pytest

from inkwright.trainer.v1 import task_pb2
from libs.demo.installation import installation
from tests.chaos.checker import violations
from tests.chaos.flow import NUM_KILLS, Flow
from tests.chaos.history import Kind, Outcome
from tests.chaos.killer import eventually
from tests.chaos.storm import OF_TRAINING, SETTINGS, Storm, with_points
from tests.integration.processes import is_alive, mentioning

RESTART_SECONDS = 5.0
"""A process that died is started again within that, however long its start takes then."""
END_SECONDS = 5.0
"""Usually a tenth of a second; a machine may be busy."""
MINDED_BY_SERVICES = frozenset({"instance", "node"})


@pytest.mark.timeout(900)
def test_a_model_is_made_deployed_and_right_although_twenty_processes_are_killed(tmp_path: Path) -> None:
    (tmp_path / "roots").mkdir()
    with installation(tmp_path / "home", tmp_path / "roots", env=SETTINGS | with_points(tmp_path / "chaos")) as running:
        flow = Flow(running, tmp_path / "roots", tmp_path / "chaos", seed=11)
        try:
            model = flow.run()
            assert violations(flow.history.calls, flow.seen()) == []
        finally:
            print(*flow.kills, f"missed {flow.missed}", flow.history.counts_by_kind(), sep="\n")
            flow.close()
    assert len(flow.kills) == NUM_KILLS == 20
    assert all(kill.num_in_flight for kill in flow.kills)
    assert {kill.process for kill in flow.kills} >= OF_TRAINING
    # Nobody helped: the supervisor did it, and what the services mind themselves they started again.
    assert all(kill.restarted_seconds < RESTART_SECONDS for kill in flow.kills if kill.process not in MINDED_BY_SERVICES)
    read = [call for call in flow.history.calls if call.kind is Kind.PREDICT and call.outcome is Outcome.OK]
    assert {call.model for call in read} == {model.bundle_digest}
    assert flow.truth & set(read[-1].text)


@pytest.mark.timeout(600)
def test_a_killed_supervisor_takes_everything_with_it_and_the_next_one_goes_on(tmp_path: Path) -> None:
    home, roots, chaos = (tmp_path / part for part in ("home", "roots", "chaos"))
    roots.mkdir()
    env = SETTINGS | with_points(chaos)
    with installation(home, roots, env=env) as first:
        people = Storm(first, roots, chaos, 5)
        people.prepare()
        people.prepare_reading()
        with people.at_work():
            people.want_task()
            eventually(lambda: is_training(first.client.get_task("t1")), 120)
            minded = {pid: command for pid, command in mentioning(str(home)).items() if pid != first.supervisor.pid}
            assert any("node_main" in command for command in minded.values())
            assert any("inference.instance " in command for command in minded.values())
            os.kill(first.supervisor.pid, signal.SIGKILL)
            began = time.monotonic()
            eventually(lambda: not any(map(is_alive, minded)), END_SECONDS)
            print(f"{len(minded)} processes ended {time.monotonic() - began:.2f} s after their supervisor")
            people.break_off()
        people.close()
    assert mentioning(str(home)) == {}

    with installation(home, roots, env=env) as second:
        assert second.token == first.token
        again = people.moved(second)
        task = again.train_on("t1")
        assert task.state == task_pb2.Task.SUCCEEDED, task.error_message
        tries = {node.node_id: node.attempt for node in task.nodes}
        assert (tries["snapshot"], tries["train-recognizer"]) == (1, 2)
        # Seen once the deployment answers, with the token it had.
        assert violations(again.history.calls, again.seen()) == []
        again.close()
    read = [call for call in again.history.calls if call.kind is Kind.PREDICT]
    assert read[-1].outcome is Outcome.OK


def is_training(task: task_pb2.Task) -> bool:
    """Whether its recognizer is being trained."""
    return any(node.node_id == "train-recognizer" and node.state == task_pb2.Node.RUNNING and node.progress > 0 for node in task.nodes)
