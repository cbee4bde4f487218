"""Tasks: orders, states and the rules that move a task along its graph."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from libs.runtime.errors import InvalidInput, WrongState
from services.trainer.graph import DONE, MAX_CRASHES, WEIGHTS, Node, NodeId, NodeState, new_nodes

ALGORITHM: Final = "ocr-high-performance"
CPU: Final = "cpu"
DEFAULT_VALIDATION_FRACTION: Final = 0.1
MAX_VALIDATION_FRACTION: Final = 0.5
MAX_DESCRIPTION: Final = 1000
NEEDED_IMAGES: Final = 2
"""One to learn from and another to judge by: a model that is judged by what it learnt looks good whatever it learnt."""


class AlgorithmNotOffered(InvalidInput):
    """No such algorithm here."""

    reason = "ALGORITHM_NOT_OFFERED"


class ResourceNotOffered(InvalidInput):
    """No worker has such a processor."""

    reason = "RESOURCE_NOT_OFFERED"


class BaseNotOffered(InvalidInput):
    """No such base model here."""

    reason = "BASE_NOT_OFFERED"


class NoLabels(WrongState):
    """There is nothing to learn from, or nothing to judge by."""

    reason = "NO_LABELS"


class SplitImpossible(WrongState):
    """Too few images are left to learn from and to judge by."""

    reason = "SPLIT_IMPOSSIBLE"


class DatasetNotReady(WrongState):
    """The dataset has no index that could be frozen."""

    reason = "DATASET_NOT_READY"


class Mode(StrEnum):
    """How much of the network is trained."""

    AUTO = "AUTO"
    FAST = "FAST"
    FULL = "FULL"


class TaskState(StrEnum):
    """As in the proto."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"


ENDED: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.TERMINATED})


@dataclass(frozen=True)
class TaskOrder:
    """What a person asks for; empty words and 0 mean the default until ``checked`` filled them in."""

    dataset: str
    description: str = ""
    algorithm: str = ""
    base: str = ""
    mode: Mode = Mode.AUTO
    num_gpus: int = 0
    gpu_type: str = ""
    validation_fraction: float = 0.0
    further_datasets: tuple[str, ...] = ()

    @property
    def datasets(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((self.dataset, *self.further_datasets)))

    def checked(self, *, bases: Collection[str]) -> "TaskOrder":
        """The order with its defaults filled in; among several bases ``preflight`` chooses where none is named.

        Args:
            bases: names of the bases that are offered.

        Raises:
            AlgorithmNotOffered, ResourceNotOffered, BaseNotOffered: with what is offered.
            InvalidInput: a description that is too long, or a validation share outside (0, 0.5].
        """
        if len(self.description) > MAX_DESCRIPTION:
            raise InvalidInput(f"The description has more than {MAX_DESCRIPTION} characters; make it shorter.", maximum=MAX_DESCRIPTION)
        algorithm = self.algorithm or ALGORITHM
        if algorithm != ALGORITHM:
            raise AlgorithmNotOffered(
                f"The algorithm {algorithm[:60]!r} is not offered; use {ALGORITHM!r}.", algorithm=algorithm[:60], offered=ALGORITHM
            )
        gpu_type = self.gpu_type or CPU
        if gpu_type != CPU or self.num_gpus != 0:
            raise ResourceNotOffered(
                f"{self.num_gpus} GPUs of type {gpu_type[:60]!r} are not offered here; use 0 of type {CPU!r}.",
                num_gpus=self.num_gpus,
                gpu_type=gpu_type[:60],
                offered=CPU,
            )
        base = self.base or (next(iter(bases)) if len(bases) == 1 else "")
        if not bases or (base and base not in bases):
            known = ", ".join(sorted(bases)) or "none; run `make models` and start again"
            raise BaseNotOffered(f"The base {base[:200]!r} is not offered; offered are: {known}.", base=base[:200], offered=known)
        fraction = self.validation_fraction or DEFAULT_VALIDATION_FRACTION
        if not 0.0 < fraction <= MAX_VALIDATION_FRACTION:
            raise InvalidInput(
                f"The validation share {fraction} is not above 0 and at most {MAX_VALIDATION_FRACTION}; leave it out for"
                f" {DEFAULT_VALIDATION_FRACTION}.",
                validation_fraction=fraction,
            )
        return replace(self, algorithm=algorithm, gpu_type=gpu_type, base=base, validation_fraction=fraction)


@dataclass(frozen=True)
class Task:
    """A training task.

    Args:
        uid: unique for ever; the request id under which its dataset is frozen.
        request_id: of the call that made it; empty without one.
        revision: goes up with every change.
        version: the frozen version; empty until it is told.
        model: what it made; empty until it succeeded.
    """

    name: str
    uid: str
    request_id: str
    order: TaskOrder
    create_time: datetime
    state: TaskState = TaskState.PENDING
    error_message: str = ""
    nodes: tuple[Node, ...] = ()
    version: str = ""
    model: str = ""
    revision: int = 1
    start_time: datetime | None = None
    end_time: datetime | None = None
    terminate_time: datetime | None = None

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return f"{self.uid}-{self.revision}"

    @property
    def has_ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state in ENDED

    @property
    def progress(self) -> float:
        """In [0, 1] over all nodes, weighted by their usual time."""
        return sum(WEIGHTS[node.node_id] * node.progress for node in self.nodes) / sum(WEIGHTS.values())

    def node(self, node_id: NodeId) -> Node:
        """One node by its id."""
        return next(node for node in self.nodes if node.node_id is node_id)

    def freeze(self, version: str, *, at: datetime) -> "Task":
        """The frozen version is there; the first node is queued.

        Raises:
            WrongState: it does not wait for a version.
        """
        if self.state is not TaskState.PENDING or self.version:
            raise WrongState(f"{self.name} does not wait for a version.", task=self.name, state=self.state)
        return self._changed(version=version)._queue_ready(at)

    def choose_base(self, base: str) -> "Task":
        """The base was chosen from the data."""
        return self._changed(order=replace(self.order, base=base))

    def begin(self, node_id: NodeId, *, at: datetime) -> "Task":
        """A worker starts a try of a node; the task fails when too many tries vanished.

        Raises:
            WrongState: the task is over or being terminated, or the node is neither queued nor left behind.
        """
        self._require_active()
        begun = self.node(node_id).begin(at=at)
        if begun.crashes >= MAX_CRASHES:
            reason = f"Its process vanished {begun.crashes} times; see the trainer's log, and whether the machine has enough memory."
            return self._with_node(begun).fail(node_id, reason, at=at)
        return self._with_node(begun)._changed(state=TaskState.RUNNING, start_time=self.start_time or at)

    def advance(
        self, node_id: NodeId, attempt: int, *, progress: float, message: str, measures: Mapping[str, float], info: Mapping[str, str]
    ) -> "Task":
        """Note how far a node is.

        Raises:
            WrongState: this try does not hold the node any more.
        """
        self._require_held(node_id, attempt)
        return self._with_node(self.node(node_id).advance(progress=progress, message=message, measures=measures, info=info))

    def requeue(self, node_id: NodeId, attempt: int) -> "Task":
        """The node's worker was stopped in good order.

        Raises:
            WrongState: this try does not hold the node any more.
        """
        self._require_held(node_id, attempt)
        return self._with_node(self.node(node_id).requeue())

    def succeed(self, node_id: NodeId, attempt: int, *, at: datetime) -> "Task":
        """A node is done; what can run now is queued. After the last node nothing is, and ``finish`` is next.

        Raises:
            WrongState: this try does not hold the node any more.
        """
        self._require_held(node_id, attempt)
        return self._with_node(self.node(node_id).succeed(at=at))._queue_ready(at)

    def rewind(self) -> "Task":
        """What its nodes made is lost: every one waits again. Tries go on being counted, so that none is taken for an earlier one.

        Raises:
            WrongState: it does not run.
        """
        self._require_active()
        return self._changed(nodes=tuple(node.rewind() for node in self.nodes))

    def resume(self, *, at: datetime) -> "Task":
        """What can run is queued.

        Raises:
            WrongState: it does not run, or waits for a version.
        """
        self._require_active()
        if not self.version:
            raise WrongState(f"{self.name} waits for a version.", task=self.name)
        return self._queue_ready(at)

    def finish(self, model: str, *, at: datetime) -> "Task":
        """All nodes are done and the model is registered.

        Raises:
            WrongState: a node is not done.
        """
        self._require_active()
        if not self.is_through:
            raise WrongState(f"{self.name} still has nodes to run.", task=self.name)
        return self._changed(state=TaskState.SUCCEEDED, model=model, end_time=at)

    def fail(self, node_id: NodeId | None, reason: str, *, at: datetime) -> "Task":
        """The task cannot go on; what has not run will not run.

        Args:
            node_id: the node that failed; ``None`` before the first.
            reason: one sentence for a person.
        """
        self._require_active()
        task = self if node_id is None else self._with_node(self.node(node_id).fail(reason, at=at))
        nodes = tuple(node.terminate(at=at) for node in task.nodes)
        message = reason if node_id is None else f"{node_id} failed: {reason}"
        return task._changed(state=TaskState.FAILED, nodes=nodes, error_message=message, end_time=at)

    def terminate(self, *, at: datetime) -> "Task":
        """A person wants it stopped: at once where no child runs, else its worker is told. Asking again changes nothing.

        Raises:
            WrongState: it has ended.
        """
        if self.state in (TaskState.TERMINATING, TaskState.TERMINATED):
            return self
        if self.has_ended:
            raise WrongState(f"{self.name} has ended ({self.state}); there is nothing to terminate.", task=self.name, state=self.state)
        terminating = self._changed(state=TaskState.TERMINATING, terminate_time=at)
        if any(node.state is NodeState.RUNNING for node in self.nodes):
            return terminating
        return terminating.terminated(at=at)

    def stopped(self, node_id: NodeId, *, at: datetime) -> "Task":
        """A node's child is gone after a termination; with the last one the task is over.

        Raises:
            WrongState: it is not being terminated.
        """
        task = self._with_node(self.node(node_id).terminate(at=at))
        return task if any(node.state is NodeState.RUNNING for node in task.nodes) else task.terminated(at=at)

    def terminated(self, *, at: datetime) -> "Task":
        """Nothing of it runs any more.

        Raises:
            WrongState: it is not being terminated.
        """
        if self.state is not TaskState.TERMINATING:
            raise WrongState(f"{self.name} is not being terminated.", task=self.name, state=self.state)
        return self._changed(state=TaskState.TERMINATED, nodes=tuple(node.terminate(at=at) for node in self.nodes), end_time=at)

    def is_held(self, node_id: NodeId, attempt: int) -> bool:
        """Whether a try may still run its node."""
        node = self.node(node_id)
        return self.state is TaskState.RUNNING and node.state is NodeState.RUNNING and node.attempt == attempt

    @property
    def is_through(self) -> bool:
        """Whether every node is done."""
        return all(node.state in DONE for node in self.nodes)

    def _queue_ready(self, at: datetime) -> "Task":
        """Skip what has nothing to do, queue what can run."""
        task = self
        for node_id in NodeId:  # in graph order, so a skipped node frees the next at once
            node = task.node(node_id)
            if node.state is not NodeState.WAITING or any(task.node(before).state not in DONE for before in node.after):
                continue
            reason = task._nothing_to_do(node_id)
            task = task._with_node(node.skip(reason, at=at) if reason else node.queue())
        return task

    def _nothing_to_do(self, node_id: NodeId) -> str:
        if node_id is NodeId.BUILD_ENGINE and self.order.gpu_type == CPU:
            return "No GPU type was asked for: CPU engines need no build."
        return ""

    def _require_active(self) -> None:
        if self.state not in (TaskState.PENDING, TaskState.RUNNING):
            raise WrongState(f"{self.name} is {self.state} and does not run.", task=self.name, state=self.state)

    def _require_held(self, node_id: NodeId, attempt: int) -> None:
        if not self.is_held(node_id, attempt):
            raise WrongState(f"Try {attempt} of {node_id} is over.", task=self.name, node=node_id, attempt=attempt)

    def _with_node(self, node: Node) -> "Task":
        return self._changed(nodes=tuple(node if node.node_id is old.node_id else old for old in self.nodes))

    def _changed(self, **changes: object) -> "Task":
        changed: Task = replace(self, revision=self.revision + 1, **changes)  # type: ignore[arg-type]
        return changed


def new_task(name: str, uid: str, order: TaskOrder, *, request_id: str, at: datetime) -> Task:
    """A task that waits for the frozen version of its dataset."""
    return Task(name=name, uid=uid, request_id=request_id, order=order, create_time=at, nodes=new_nodes())


@dataclass(frozen=True)
class LogLine:
    """One line of a task's log; ``sequence`` counts from 1 within the task, ``level`` is a word of the logs."""

    sequence: int
    node_id: str
    level: str
    message: str
    time: datetime
