"""The graph of a task: which nodes there are, what each waits for, and what may happen to one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from libs.runtime.errors import WrongState

MAX_CRASHES: Final = 3
"""A node whose process vanished this often is given up."""


class NodeId(StrEnum):
    """The nodes, in the order in which they are shown."""

    SNAPSHOT = "snapshot"
    PREFLIGHT = "preflight"
    SPLIT = "split"
    TRAIN_DETECTOR = "train-detector"
    TRAIN_RECOGNIZER = "train-recognizer"
    PACKAGE = "package"
    BUILD_ENGINE = "build-engine"
    EVALUATE = "evaluate"
    GATE = "gate"


class NodeState(StrEnum):
    """As in the proto."""

    WAITING = "WAITING"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    TERMINATED = "TERMINATED"


AFTER: Final[Mapping[NodeId, tuple[NodeId, ...]]] = MappingProxyType(
    {
        NodeId.SNAPSHOT: (),
        NodeId.PREFLIGHT: (NodeId.SNAPSHOT,),
        NodeId.SPLIT: (NodeId.PREFLIGHT,),
        NodeId.TRAIN_DETECTOR: (NodeId.SPLIT,),
        NodeId.TRAIN_RECOGNIZER: (NodeId.TRAIN_DETECTOR,),
        NodeId.PACKAGE: (NodeId.TRAIN_RECOGNIZER,),
        NodeId.BUILD_ENGINE: (NodeId.PACKAGE,),
        NodeId.EVALUATE: (NodeId.BUILD_ENGINE,),
        NodeId.GATE: (NodeId.EVALUATE,),
    }
)

WEIGHTS: Final[Mapping[NodeId, float]] = MappingProxyType(
    {
        NodeId.SNAPSHOT: 2.0,
        NodeId.PREFLIGHT: 3.0,
        NodeId.SPLIT: 1.0,
        NodeId.TRAIN_DETECTOR: 20.0,
        NodeId.TRAIN_RECOGNIZER: 60.0,
        NodeId.PACKAGE: 2.0,
        NodeId.BUILD_ENGINE: 0.0,
        NodeId.EVALUATE: 11.0,
        NodeId.GATE: 1.0,
    }
)
"""Share of each node in the usual time of a task on a CPU; a node that is always skipped weighs nothing."""

DONE: Final = frozenset({NodeState.SUCCEEDED, NodeState.SKIPPED})
_OPEN: Final = frozenset({NodeState.WAITING, NodeState.QUEUED, NodeState.RUNNING})


@dataclass(frozen=True)
class Node:
    """One step of a task.

    Args:
        attempt: 1 for the first try, 0 before it. Whoever runs the node holds this number and loses it with the next one.
        crashes: tries whose process vanished.
        progress: in [0, 1].
        message: what it does now, why it was skipped, or why it failed.
        info: facts about the result by name; every number as text.
        measures: last values of the running measures.
    """

    node_id: NodeId
    state: NodeState = NodeState.WAITING
    attempt: int = 0
    crashes: int = 0
    progress: float = 0.0
    message: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    info: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def after(self) -> tuple[NodeId, ...]:
        """The nodes it waits for."""
        return AFTER[self.node_id]

    @property
    def is_open(self) -> bool:
        """Whether something can still happen to it."""
        return self.state in _OPEN

    def queue(self) -> "Node":
        """Its inputs are ready; it goes into the work queue."""
        self._require("queued", NodeState.WAITING)
        return replace(self, state=NodeState.QUEUED)

    def skip(self, reason: str, *, at: datetime) -> "Node":
        """It has nothing to do."""
        self._require("skipped", NodeState.WAITING)
        return replace(self, state=NodeState.SKIPPED, message=reason, progress=1.0, end_time=at)

    def begin(self, *, at: datetime) -> "Node":
        """A worker starts a try. A node found running was left behind by a worker that vanished."""
        self._require("begun", NodeState.QUEUED, NodeState.RUNNING)
        crashed = self.state is NodeState.RUNNING
        return replace(
            self,
            state=NodeState.RUNNING,
            attempt=self.attempt + 1,
            crashes=self.crashes + crashed,
            progress=0.0,
            message="Starting again after an interruption" if self.attempt else "Starting",
            start_time=at,
            measures={},
        )

    def advance(self, *, progress: float, message: str, measures: Mapping[str, float], info: Mapping[str, str]) -> "Node":
        """Note how far it is; progress never goes back within a try."""
        self._require("advanced", NodeState.RUNNING)
        return replace(
            self,
            progress=min(1.0, max(self.progress, progress)),
            message=message or self.message,
            measures={**self.measures, **measures},
            info={**self.info, **info},
        )

    def requeue(self) -> "Node":
        """Its worker was stopped in good order; another try follows and none is counted as a crash."""
        self._require("queued again", NodeState.RUNNING)
        return replace(self, state=NodeState.QUEUED, message="Its worker was stopped; it will run again", progress=0.0)

    def rewind(self) -> "Node":
        """It waits as in the beginning; only its tries are counted on."""
        return Node(self.node_id, attempt=self.attempt)

    def succeed(self, *, at: datetime) -> "Node":
        """It is done."""
        self._require("finished", NodeState.RUNNING)
        return replace(self, state=NodeState.SUCCEEDED, progress=1.0, message="", end_time=at)

    def fail(self, reason: str, *, at: datetime) -> "Node":
        """It cannot be done."""
        self._require("failed", NodeState.QUEUED, NodeState.RUNNING)
        return replace(self, state=NodeState.FAILED, message=reason, end_time=at)

    def terminate(self, *, at: datetime) -> "Node":
        """The task ended before this node did; a node that is over stays as it is."""
        if not self.is_open:
            return self
        return replace(self, state=NodeState.TERMINATED, message="", end_time=at if self.start_time else None)

    def _require(self, verb: str, *states: NodeState) -> None:
        if self.state not in states:
            raise WrongState(f"Node {self.node_id} is {self.state} and cannot be {verb}.", node=self.node_id, state=self.state)


def new_nodes() -> tuple[Node, ...]:
    """The nodes of a fresh task, all waiting."""
    return tuple(Node(node_id) for node_id in NodeId)
