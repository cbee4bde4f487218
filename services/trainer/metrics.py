"""Training in numbers."""

from prometheus_client import Gauge

from libs.runtime.metrics_door import Probe
from services.trainer.deps import Work
from services.trainer.domain import TaskState
from services.trainer.graph import NodeId, NodeState

TASKS = Gauge("inkwright_training_tasks", "Tasks, by state.", ["state"])
NODES = Gauge("inkwright_training_nodes", "Nodes of all tasks, by kind and state.", ["node", "state"])


def training_probe(work: Work) -> Probe:
    """Brings the gauges up to date."""

    async def look() -> None:
        async with work(read_only=True) as w:
            tasks, nodes = await w.tasks.counts()
        for state in TaskState:
            TASKS.labels(state).set(tasks.get(state, 0))
        for node_id in NodeId:
            for node_state in NodeState:
                NODES.labels(node_id, node_state).set(nodes.get((node_id, node_state), 0))

    return look
