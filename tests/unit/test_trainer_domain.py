"""Tasks, their graph, the split and the converters: rules without I/O."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inkwright.common.v1 import errors_pb2
from libs.ocrkit.near_duplicates import MAX_DISTANCE
from libs.runtime.errors import Fault, InvalidInput, WrongState, all_faults
from services.trainer import convert, domain, graph, model
from services.trainer.domain import ENDED, Mode, SplitImpossible, Task, TaskOrder, TaskState, new_task
from services.trainer.graph import AFTER, MAX_CRASHES, WEIGHTS, Node, NodeId, NodeState
from services.trainer.model import Model, ModelInUse, ModelRetired, ModelState, Origin, Verdict
from services.trainer.nodes.split import Page, split

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BASE = "projects/default/models/small"
ORDER = TaskOrder(dataset="projects/default/datasets/receipts").checked(bases={BASE})


def task_at(state: TaskState) -> Task:
    """A task in a state, reached by the ways there are."""
    pending = new_task("projects/default/tasks/t", "tk-1", ORDER, request_id="", at=NOW)
    running = pending.freeze("projects/default/datasets/receipts/versions/1", at=NOW).begin(NodeId.SNAPSHOT, at=NOW)
    match state:
        case TaskState.PENDING:
            return pending
        case TaskState.RUNNING:
            return running
        case TaskState.SUCCEEDED:
            return through(running).finish(BASE, at=NOW)
        case TaskState.FAILED:
            return running.fail(NodeId.SNAPSHOT, "broken", at=NOW)
        case TaskState.TERMINATING:
            return running.terminate(at=NOW)
        case TaskState.TERMINATED:
            return running.terminate(at=NOW).stopped(NodeId.SNAPSHOT, at=NOW)


def through(task: Task) -> Task:
    """Run every node to its end."""
    for _ in range(len(NodeId)):
        for node in task.nodes:
            if node.state is NodeState.QUEUED:
                task = task.begin(node.node_id, at=NOW)
            if task.node(node.node_id).state is NodeState.RUNNING:
                task = task.succeed(node.node_id, task.node(node.node_id).attempt, at=NOW)
    return task


def test_every_state_is_reached() -> None:
    assert [task_at(state).state for state in TaskState] == list(TaskState)


def test_the_graph_runs_in_order_and_skips_with_a_reason() -> None:
    order: list[NodeId] = []
    task = task_at(TaskState.PENDING).freeze("v", at=NOW)
    while not task.is_through:
        (queued,) = [node.node_id for node in task.nodes if node.state is NodeState.QUEUED]
        assert all(task.node(before).state in graph.DONE for before in AFTER[queued])
        order.append(queued)
        task = task.begin(queued, at=NOW).succeed(queued, 1, at=NOW)
    assert order == ["snapshot", "preflight", "split", "train-detector", "train-recognizer", "package", "evaluate", "gate"]
    assert task.node(NodeId.BUILD_ENGINE).state is NodeState.SKIPPED
    assert task.node(NodeId.BUILD_ENGINE).message.endswith(".")
    assert task.progress == pytest.approx(1.0)
    assert set(AFTER) == set(WEIGHTS) == set(NodeId)


def test_a_task_whose_work_is_lost_begins_again_and_counts_its_tries_on() -> None:
    task = task_at(TaskState.RUNNING).succeed(NodeId.SNAPSHOT, 1, at=NOW).begin(NodeId.PREFLIGHT, at=NOW)
    again = task.rewind().resume(at=NOW)
    assert [(node.node_id, node.attempt) for node in again.nodes if node.state is NodeState.QUEUED] == [(NodeId.SNAPSHOT, 1)]
    assert {node.state for node in again.nodes[1:]} == {NodeState.WAITING}
    # Whoever still ran the lost try has lost it.
    assert not again.begin(NodeId.SNAPSHOT, at=NOW).is_held(NodeId.SNAPSHOT, 1)
    assert through(again).is_through
    for state in ENDED | {TaskState.TERMINATING}:
        with pytest.raises(WrongState):
            task_at(state).rewind()
    with pytest.raises(WrongState):
        task_at(TaskState.PENDING).rewind().resume(at=NOW)


def test_progress_is_weighted_and_never_falls_within_a_try() -> None:
    task = task_at(TaskState.RUNNING)
    told = [0.0]
    for fraction in (0.2, 0.1, 0.7, 2.0):
        task = task.advance(NodeId.SNAPSHOT, 1, progress=fraction, message="", measures={"loss": fraction}, info={})
        told.append(task.progress)
    assert told == sorted(told)
    assert task.progress == pytest.approx(WEIGHTS[NodeId.SNAPSHOT] / sum(WEIGHTS.values()))
    assert task.node(NodeId.SNAPSHOT).measures == {"loss": 2.0}


@pytest.mark.parametrize("state", TaskState)
def test_only_a_task_that_has_not_ended_can_be_moved(state: TaskState) -> None:
    task = task_at(state)
    moves: dict[str, Callable[[], Task]] = {
        "freeze": lambda: task.freeze("v", at=NOW),
        "begin": lambda: task.begin(NodeId.SNAPSHOT, at=NOW),
        "succeed": lambda: task.succeed(NodeId.SNAPSHOT, 1, at=NOW),
        "fail": lambda: task.fail(None, "broken", at=NOW),
        "finish": lambda: task.finish(BASE, at=NOW),
        "terminate": lambda: task.terminate(at=NOW),
        "terminated": lambda: task.terminated(at=NOW),
    }
    allowed = {
        TaskState.PENDING: {"freeze", "fail", "terminate"},
        TaskState.RUNNING: {"begin", "succeed", "fail", "terminate"},
        TaskState.TERMINATING: {"terminate", "terminated"},
        TaskState.TERMINATED: {"terminate"},
        TaskState.SUCCEEDED: set(),
        TaskState.FAILED: set(),
    }[state]
    for verb, move in moves.items():
        if verb in allowed:
            assert move().revision >= task.revision
        else:
            with pytest.raises(WrongState):
                move()
    assert task.has_ended == (state in ENDED)
    assert not (task.has_ended and any(node.is_open for node in task.nodes))


def test_terminating_twice_is_terminating_once() -> None:
    terminating = task_at(TaskState.TERMINATING)
    assert terminating.terminate(at=NOW + timedelta(seconds=1)) is terminating
    terminated = task_at(TaskState.TERMINATED)
    assert terminated.terminate(at=NOW) is terminated
    assert terminated.node(NodeId.SNAPSHOT).state is NodeState.TERMINATED
    assert task_at(TaskState.PENDING).terminate(at=NOW).state is TaskState.TERMINATED


def test_a_node_whose_process_vanishes_is_tried_again_and_given_up_at_last() -> None:
    task = task_at(TaskState.RUNNING)
    for crash in range(1, MAX_CRASHES):
        task = task.begin(NodeId.SNAPSHOT, at=NOW)
        assert (task.node(NodeId.SNAPSHOT).attempt, task.node(NodeId.SNAPSHOT).crashes) == (crash + 1, crash)
    with pytest.raises(WrongState):
        task.succeed(NodeId.SNAPSHOT, 1, at=NOW)
    task = task.begin(NodeId.SNAPSHOT, at=NOW)
    assert task.state is TaskState.FAILED
    assert task.error_message.startswith("snapshot failed: Its process vanished 3 times")


def test_a_worker_stopped_in_good_order_costs_no_crash() -> None:
    task = task_at(TaskState.RUNNING)
    for attempt in range(1, 2 * MAX_CRASHES):
        task = task.requeue(NodeId.SNAPSHOT, attempt)
        assert task.node(NodeId.SNAPSHOT).state is NodeState.QUEUED
        task = task.begin(NodeId.SNAPSHOT, at=NOW)
    assert task.state is TaskState.RUNNING
    assert task.node(NodeId.SNAPSHOT).crashes == 0


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        (TaskOrder("d", algorithm="x"), domain.AlgorithmNotOffered),
        (TaskOrder("d", gpu_type="a10"), domain.ResourceNotOffered),
        (TaskOrder("d", num_gpus=-1), domain.ResourceNotOffered),
        (TaskOrder("d", base="projects/default/models/x"), domain.BaseNotOffered),
        (TaskOrder("d", validation_fraction=0.51), InvalidInput),
        (TaskOrder("d", validation_fraction=-0.1), InvalidInput),
        (TaskOrder("d", validation_fraction=float("nan")), InvalidInput),
        (TaskOrder("d", description="x" * 1001), InvalidInput),
    ],
)
def test_what_is_not_offered_is_refused(order: TaskOrder, fault: type[Fault]) -> None:
    with pytest.raises(fault) as caught:
        order.checked(bases={BASE})
    assert type(caught.value) is fault


def test_an_order_gets_its_defaults() -> None:
    assert (ORDER.algorithm, ORDER.base, ORDER.gpu_type, ORDER.validation_fraction) == ("ocr-high-performance", BASE, "cpu", 0.1)


def test_among_several_bases_the_data_chooses_later() -> None:
    order = TaskOrder("d").checked(bases={BASE, BASE + "-2"})
    assert not order.base
    assert TaskOrder("d", base=BASE).checked(bases={BASE, BASE + "-2"}).base == BASE
    with pytest.raises(domain.BaseNotOffered, match="make models"):
        TaskOrder("d").checked(bases=set())


def test_every_fault_here_has_a_reason_of_the_protos() -> None:
    here = [fault for fault in all_faults() if fault.__module__.startswith("services.trainer")]
    assert len(here) >= 7
    assert not [fault for fault in here if fault.reason not in errors_pb2.ErrorReason.keys()]  # noqa: SIM118 - no dict


MODEL = Model(BASE, "md-1", Origin.TRAINED, "a" * 64, "b" * 64, 96, {"fp32": 7}, "0.1.0", NOW)


def test_a_model_is_retired_once_and_never_while_it_is_used() -> None:
    retired = MODEL.retire()
    assert retired.state is ModelState.RETIRED
    with pytest.raises(ModelRetired):
        retired.retire()
    with pytest.raises(ModelInUse, match="till"):
        replace(MODEL, deployments=("till",)).retire()
    with pytest.raises(WrongState):
        replace(MODEL, origin=Origin.BASE).retire()


words = st.text(st.characters(codec="utf-8"), max_size=12)
moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
numbers = st.floats(allow_nan=False, allow_infinity=False)
measures = st.dictionaries(words, numbers, max_size=3)
orders = st.builds(
    TaskOrder,
    dataset=words,
    description=words,
    algorithm=words,
    base=words,
    mode=st.sampled_from(Mode),
    num_gpus=st.integers(0, 8),
    gpu_type=words,
    validation_fraction=numbers,
    further_datasets=st.lists(words, max_size=2).map(tuple),
)
nodes = st.builds(
    Node,
    node_id=st.sampled_from(NodeId),
    state=st.sampled_from(NodeState),
    attempt=st.integers(0, 9),
    crashes=st.just(0),
    progress=st.floats(0, 1),
    message=words,
    start_time=st.none() | moments,
    end_time=st.none() | moments,
    info=st.dictionaries(words, words, max_size=3),
    measures=measures,
)
models = st.builds(
    Model,
    name=words,
    uid=st.just("md-1"),
    origin=st.sampled_from(Origin),
    bundle_digest=words,
    charset_digest=words,
    num_characters=st.integers(0, 20000),
    model_size=st.dictionaries(words, st.integers(0, 2**40), max_size=2),
    code_version=words,
    create_time=moments,
    state=st.sampled_from(ModelState),
    metrics=measures,
    base_metrics=measures,
    task=words,
    dataset_version=words,
    base=words,
    gate=st.none() | st.builds(Verdict, passed=st.booleans(), reasons=st.lists(words, max_size=3).map(tuple)),
    deployments=st.lists(words, max_size=3).map(tuple),
)


@given(orders)
def test_orders_survive_the_wire(order: TaskOrder) -> None:
    assert convert.order_from_proto(convert.order_to_proto(order)) == order


@given(nodes)
def test_nodes_survive_the_wire(node: Node) -> None:
    message = convert.node_to_proto(node)
    assert convert.node_from_proto(message) == node
    assert tuple(message.after) == AFTER[node.node_id]


@given(models)
def test_models_survive_the_wire(made: Model) -> None:
    assert convert.model_from_proto(convert.model_to_proto(made), uid=made.uid) == made


def test_the_states_are_those_of_the_protos() -> None:
    for state in TaskState:
        assert convert.task_to_proto(task_at(state)).state == convert.task_state_to_proto(state)
    assert {member.value for member in model.ModelState} == {"READY", "RETIRED"}


pages = st.lists(
    st.tuples(st.text("abcdef", min_size=1, max_size=6), st.integers(0, 2**64 - 1), st.booleans()), min_size=1, max_size=40
).map(lambda rows: [Page(key, f"sha-{key}", bits, lines) for key, bits, lines in {row[0]: row for row in rows}.values()])


@given(pages, st.floats(0.01, 0.5), st.integers(0, 99))
def test_the_split_is_the_same_in_any_order_and_loses_nothing(drawn: list[Page], fraction: float, seed: int) -> None:
    shuffled = list(drawn)
    random.Random(seed).shuffle(shuffled)
    useful = {page.key for page in drawn if page.has_lines}
    assume(len(useful) >= 2)
    done = split(drawn, fraction=fraction)
    assert done == split(shuffled, fraction=fraction)
    assert set(done.train) | set(done.validation) == {page.key for page in drawn}
    assert (done.test, done.left_out) == ((), ())
    assert done.validation
    assert useful & set(done.train)
    assert set(done.validation) <= useful
    assert not set(done.train) & set(done.validation)


def test_near_duplicates_stay_together_and_the_share_is_met() -> None:
    # 100 sheets, each scanned twice with three bits of difference.
    rng = np.random.default_rng(3)
    sheets = [int(value) for value in rng.integers(0, 2**63, 100)]
    scans = [
        Page(f"{number:03}-{copy}", f"{number}-{copy}", bits ^ (0b111 * copy)) for number, bits in enumerate(sheets) for copy in (0, 1)
    ]
    done = split(scans, fraction=0.1)
    assert len(done.validation) == 20
    assert done.num_groups == 100
    for first, second in itertools.pairwise(sorted(page.key for page in scans)):
        if first[:3] == second[:3]:
            assert (first in done.validation) == (second in done.validation)
    assert split(scans, fraction=0.1, seed="other").validation != done.validation


def test_images_that_all_look_alike_are_split_all_the_same() -> None:
    done = split([Page(str(number), str(number), 5) for number in range(10)], fraction=0.3)
    assert (len(done.train), len(done.validation), done.num_groups) == (7, 3, 1)


@given(st.integers(10, 200))
def test_a_tenth_is_held_out(number: int) -> None:
    rng = np.random.default_rng(number)
    done = split([Page(str(index), str(index), int(rng.integers(0, 2**63))) for index in range(number)], fraction=0.1)
    assert abs(len(done.validation) - number / 10) <= 1


@given(pages, st.sets(st.integers(0, 39)), st.floats(0.01, 0.5))
def test_nothing_like_a_test_page_is_learnt_or_judged_by(drawn: list[Page], tested: set[int], fraction: float) -> None:
    drawn = [replace(page, is_test=index in tested) for index, page in enumerate(drawn)]
    try:
        done = split(drawn, fraction=fraction)
    except SplitImpossible:
        return
    parts = [set(done.train), set(done.validation), set(done.test), {key for key, _ in done.left_out}]
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(drawn)
    assert parts[2] == {page.key for page in drawn if page.is_test}
    known = {page.key: page for page in drawn}
    for key in parts[0] | parts[1]:
        assert all((known[key].dhash ^ known[one].dhash).bit_count() > MAX_DISTANCE for one in parts[2])
    for key, like in done.left_out:
        assert (known[like].is_test, known[key].is_test) == (True, False)


def test_a_split_that_cannot_be_is_refused_with_its_reason() -> None:
    scans = [Page("a", "a", 0, is_test=True), Page("b", "b", 1), Page("c", "c", 2**40 - 1), Page("d", "d", 2**63, has_lines=False)]
    with pytest.raises(SplitImpossible, match="the 1 images of the test set and the 2 that look like one of them, 1 labelled"):
        split(scans, fraction=0.1)
