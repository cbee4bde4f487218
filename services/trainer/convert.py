"""Domain to protobuf and back."""

from inkwright.trainer.v1 import model_pb2, task_pb2
from libs.runtime.times import from_timestamp, to_timestamp
from services.trainer.domain import LogLine, Mode, Task, TaskOrder, TaskState
from services.trainer.graph import Node, NodeId, NodeState
from services.trainer.model import Model, ModelState, Origin, Verdict


def order_to_proto(order: TaskOrder) -> task_pb2.Task:
    """A task that carries only what a person asks for."""
    return task_pb2.Task(
        description=order.description,
        dataset=order.dataset,
        algorithm=order.algorithm,
        base=order.base,
        mode=task_pb2.Task.Mode.Value(order.mode),
        resources=task_pb2.TaskResources(num_gpus=order.num_gpus, gpu_type=order.gpu_type),
        validation_fraction=order.validation_fraction,
        further_datasets=order.further_datasets,
    )


def order_from_proto(task: task_pb2.Task) -> TaskOrder:
    """What a person asks for; every other field is the server's and is not read."""
    unspecified = task.mode == task_pb2.Task.MODE_UNSPECIFIED
    return TaskOrder(
        description=task.description,
        dataset=task.dataset,
        algorithm=task.algorithm,
        base=task.base,
        mode=Mode.AUTO if unspecified else Mode(task_pb2.Task.Mode.Name(task.mode)),
        num_gpus=task.resources.num_gpus,
        gpu_type=task.resources.gpu_type,
        validation_fraction=task.validation_fraction,
        further_datasets=tuple(task.further_datasets),
    )


def task_to_proto(task: Task) -> task_pb2.Task:
    """A whole task."""
    message = order_to_proto(task.order)
    message.MergeFrom(
        task_pb2.Task(
            name=task.name,
            state=task_pb2.Task.State.Value(task.state),
            error_message=task.error_message,
            nodes=[node_to_proto(node) for node in task.nodes],
            version=task.version,
            model=task.model,
            progress=task.progress,
            etag=task.etag,
            create_time=to_timestamp(task.create_time),
            start_time=to_timestamp(task.start_time),
            end_time=to_timestamp(task.end_time),
        )
    )
    return message


def task_state_to_proto(state: TaskState) -> task_pb2.Task.State.ValueType:
    """A task's state alone."""
    return task_pb2.Task.State.Value(state)


def node_to_proto(node: Node) -> task_pb2.Node:
    """A node; the number of crashes stays inside."""
    return task_pb2.Node(
        node_id=node.node_id,
        state=task_pb2.Node.State.Value(node.state),
        after=node.after,
        attempt=node.attempt,
        progress=node.progress,
        message=node.message,
        start_time=to_timestamp(node.start_time),
        end_time=to_timestamp(node.end_time),
        info=node.info,
        measures=node.measures,
    )


def node_from_proto(message: task_pb2.Node) -> Node:
    """The node a message describes."""
    return Node(
        node_id=NodeId(message.node_id),
        state=NodeState(task_pb2.Node.State.Name(message.state)),
        attempt=message.attempt,
        progress=message.progress,
        message=message.message,
        start_time=from_timestamp(message.start_time),
        end_time=from_timestamp(message.end_time),
        info=dict(message.info),
        measures=dict(message.measures),
    )


def log_line_to_proto(line: LogLine) -> task_pb2.LogLine:
    """A line of a task's log."""
    return task_pb2.LogLine(
        sequence=line.sequence, node_id=line.node_id, level=line.level, message=line.message, time=to_timestamp(line.time)
    )


def model_to_proto(model: Model) -> model_pb2.Model:
    """A model; its uid stays inside."""
    return model_pb2.Model(
        name=model.name,
        origin=model_pb2.Model.Origin.Value(model.origin),
        state=model_pb2.Model.State.Value(model.state),
        bundle_digest=model.bundle_digest,
        charset_digest=model.charset_digest,
        num_characters=model.num_characters,
        model_size=model.model_size,
        metrics=model.metrics,
        base_metrics=model.base_metrics,
        task=model.task,
        dataset_version=model.dataset_version,
        base=model.base,
        code_version=model.code_version,
        gate=None if model.gate is None else model_pb2.GateVerdict(passed=model.gate.passed, reasons=model.gate.reasons),
        deployments=model.deployments,
        create_time=to_timestamp(model.create_time),
    )


def model_from_proto(message: model_pb2.Model, *, uid: str) -> Model:
    """The model a message describes, under the uid it is kept by."""
    created = from_timestamp(message.create_time)
    if created is None:
        raise ValueError("a model has a create_time")
    return Model(
        name=message.name,
        uid=uid,
        origin=Origin(model_pb2.Model.Origin.Name(message.origin)),
        state=ModelState(model_pb2.Model.State.Name(message.state)),
        bundle_digest=message.bundle_digest,
        charset_digest=message.charset_digest,
        num_characters=message.num_characters,
        model_size=dict(message.model_size),
        metrics=dict(message.metrics),
        base_metrics=dict(message.base_metrics),
        task=message.task,
        dataset_version=message.dataset_version,
        base=message.base,
        code_version=message.code_version,
        gate=Verdict(message.gate.passed, tuple(message.gate.reasons)) if message.HasField("gate") else None,
        deployments=tuple(message.deployments),
        create_time=created,
    )
