"""The facts the trainer tells, the jobs it queues, and the facts it hears."""

from typing import Any, Final

from inkwright.dataset.v1 import dataset_events_pb2
from inkwright.inference.v1 import inference_events_pb2
from inkwright.trainer.v1 import trainer_events_pb2
from libs.runtime.hearing import Heard, Hearing
from libs.runtime.logs import get_logger
from libs.runtime.names import MODEL, TASK
from services.trainer.convert import model_to_proto, node_to_proto, task_state_to_proto
from services.trainer.deps import Deps
from services.trainer.domain import Task, TaskState
from services.trainer.graph import Node, NodeState
from services.trainer.model import Model
from services.trainer.store import TrainerWork

log = get_logger()


def job_subject(resource_class: str) -> str:
    """The work queue of a resource class (``cpu``)."""
    return f"jobs.train.{resource_class}"


async def put_task(w: TrainerWork, task: Task, *, before: Task | None) -> None:
    """Store a task, tell what changed since ``before`` and queue a job for each node that became ready."""
    await w.tasks.put(task)
    if before is None or before.state is not task.state:
        changed = trainer_events_pb2.TaskStateChanged(
            task=task.name, state=task_state_to_proto(task.state), error_message=task.error_message
        )
        w.tell(changed, resource="task", id=TASK.parse(task.name)["task"])
    for node in task.nodes:
        old = None if before is None else before.node(node.node_id)
        if old is not None and old != node:
            tell_node(w, task, node)
            if old.state is NodeState.WAITING and node.state is NodeState.QUEUED:
                job = trainer_events_pb2.NodeJob(task=task.name, node_id=node.node_id, attempt=node.attempt + 1)
                w.enqueue(job_subject(task.order.gpu_type), job)


def tell_node(w: TrainerWork, task: Task, node: Node) -> None:
    """Tell how far a node is."""
    progressed = trainer_events_pb2.NodeProgressed(task=task.name, node=node_to_proto(node), task_progress=task.progress)
    w.tell(progressed, resource="task", id=TASK.parse(task.name)["task"])


def tell_model(w: TrainerWork, model: Model) -> None:
    """Tell that a model can be deployed."""
    w.tell(trainer_events_pb2.ModelRegistered(model=model_to_proto(model)), resource="model", id=MODEL.parse(model.name)["model"])


def tell_retired(w: TrainerWork, model: Model) -> None:
    """Tell that a model is not offered any more."""
    w.tell(trainer_events_pb2.ModelRetired(model=model.name), resource="model", id=MODEL.parse(model.name)["model"])


async def on_version_frozen(heard: Heard[dataset_events_pb2.VersionFrozen], deps: Deps) -> None:
    """A dataset version is frozen: the task that asked for it starts."""
    async with heard.once(deps.work) as w:
        task = await w.tasks.with_uid(heard.fact.request_id)
        # Other requests freeze too, and a task may have been terminated while it waited.
        if task is not None and task.state is TaskState.PENDING and not task.version:
            await put_task(w, task.freeze(heard.fact.version, at=w.now), before=task)
            log.info("task_started", task=task.name, version=heard.fact.version)
        await w.commit()


async def on_deployment_state_changed(heard: Heard[inference_events_pb2.DeploymentStateChanged], deps: Deps) -> None:
    """A deployment uses a model, or is gone: a model in use cannot be retired."""
    async with heard.once(deps.work) as w:
        if heard.fact.deleted:
            await w.models.undeploy(heard.fact.deployment)
        elif heard.fact.model:
            await w.models.deploy(heard.fact.deployment, heard.fact.model)
        await w.commit()


HEARINGS: Final[list[Hearing[Any, Deps]]] = [
    Hearing(
        durable="trainer-version-frozen",
        fact=dataset_events_pb2.VersionFrozen,
        service="dataset",
        resource="version",
        handle=on_version_frozen,
    ),
    Hearing(
        durable="trainer-deployment-state",
        fact=inference_events_pb2.DeploymentStateChanged,
        service="inference",
        resource="deployment",
        handle=on_deployment_state_changed,
    ),
]
