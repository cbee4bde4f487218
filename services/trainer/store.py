"""Tables of the trainer and the queries over them; rows never leave this file."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import JSON, Column, ForeignKey, Index, String, UniqueConstraint, delete, func
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.db import UnitOfWork
from libs.runtime.errors import AlreadyExists, NotFound
from libs.runtime.names import MODEL, TASK
from libs.runtime.paging import Cursor, Page
from libs.runtime.tables import UtcDateTime, add_plumbing
from services.trainer.domain import LogLine, Mode, Task, TaskOrder, TaskState
from services.trainer.graph import Node, NodeId, NodeState
from services.trainer.model import Model, ModelState, Origin, Verdict


class Table(SQLModel, registry=registry()):
    """Base of this service's rows; keeps its tables apart from every other service's."""


METADATA = add_plumbing(Table.metadata)


def _moment() -> Any:
    return Field(sa_type=UtcDateTime, default=None)


def _json() -> Any:
    return Field(sa_type=JSON, default_factory=dict)


class TaskRow(Table, table=True):
    """A task. Its uid sorts by the moment it was made."""

    __tablename__ = "task"
    __table_args__ = (UniqueConstraint("project", "request_id"), Index("task_by_project", "project", "uid"))

    uid: str = Field(primary_key=True, max_length=40)
    name: str = Field(unique=True, max_length=240)
    project: str = Field(max_length=100)
    # Null where the call had none: nulls do not collide in a unique constraint.
    request_id: str | None = Field(max_length=64)
    description: str
    dataset: str = Field(max_length=240)
    algorithm: str = Field(max_length=60)
    base: str = Field(max_length=240)
    mode: str = Field(max_length=20)
    num_gpus: int
    gpu_type: str = Field(max_length=60)
    validation_fraction: float
    further_datasets: list[str] = Field(sa_type=JSON, sa_column_kwargs={"server_default": "[]"})
    state: str = Field(max_length=20, index=True)
    error_message: str
    version: str = Field(max_length=340)
    model: str = Field(max_length=240)
    revision: int
    create_time: datetime = Field(sa_type=UtcDateTime)
    start_time: datetime | None = _moment()
    end_time: datetime | None = _moment()
    terminate_time: datetime | None = _moment()


class NodeRow(Table, table=True):
    """A node of a task."""

    __tablename__ = "node"

    task_uid: str = Field(sa_column=Column(String(40), ForeignKey("task.uid", ondelete="CASCADE"), primary_key=True))
    node_id: str = Field(primary_key=True, max_length=40)
    state: str = Field(max_length=20)
    attempt: int
    crashes: int
    progress: float
    message: str
    start_time: datetime | None = _moment()
    end_time: datetime | None = _moment()
    info: dict[str, str] = _json()
    measures: dict[str, float] = _json()


class LogRow(Table, table=True):
    """A line of a task's log."""

    __tablename__ = "log"

    task_uid: str = Field(sa_column=Column(String(40), ForeignKey("task.uid", ondelete="CASCADE"), primary_key=True))
    sequence: int = Field(primary_key=True)
    node_id: str = Field(max_length=40)
    level: str = Field(max_length=10)
    message: str
    time: datetime = Field(sa_type=UtcDateTime)


class ModelRow(Table, table=True):
    """A model. Its uid sorts by the moment it was registered."""

    __tablename__ = "model"
    __table_args__ = (Index("model_by_project", "project", "is_base", "uid"),)

    uid: str = Field(primary_key=True, max_length=40)
    name: str = Field(unique=True, max_length=240)
    project: str = Field(max_length=100)
    is_base: bool
    origin: str = Field(max_length=20)
    state: str = Field(max_length=20)
    bundle_digest: str = Field(max_length=64, index=True)
    charset_digest: str = Field(max_length=64)
    num_characters: int
    model_size: dict[str, int] = _json()
    metrics: dict[str, float] = _json()
    base_metrics: dict[str, float] = _json()
    task: str = Field(max_length=240)
    dataset_version: str = Field(max_length=340)
    base: str = Field(max_length=240)
    code_version: str = Field(max_length=60)
    gate: dict[str, Any] | None = Field(sa_type=JSON, default=None)
    create_time: datetime = Field(sa_type=UtcDateTime)


class DeploymentRow(Table, table=True):
    """Which model a deployment uses, as inference told last."""

    __tablename__ = "deployment"

    name: str = Field(primary_key=True, max_length=240)
    model: str = Field(max_length=240, index=True)


_TASK, _NODE, _LOG, _MODEL, _DEPLOYMENT = (METADATA.tables[name].c for name in ("task", "node", "log", "model", "deployment"))


class Tasks:
    """Tasks with their nodes."""

    def __init__(self, session: AsyncSession, *, lock: bool) -> None:
        self._session = session
        self._lock = lock

    async def get(self, name: str) -> Task:
        """One task, locked for a unit that may commit.

        Raises:
            NotFound: no such task.
        """
        task = await self._first(_TASK.name == name)
        if task is None:
            raise NotFound(f"There is no task {name}; list the tasks to see which there are.", name=name)
        return task

    async def with_uid(self, uid: str) -> Task | None:
        """The task of a uid."""
        return await self._first(_TASK.uid == uid)

    async def of_request(self, project: str, request_id: str) -> Task | None:
        """The task that this request made before."""
        return await self._first((_TASK.project == project) & (_TASK.request_id == request_id))

    async def check_free(self, name: str) -> None:
        """Make sure that a new task may have this name.

        Raises:
            AlreadyExists: the name is taken.
        """
        if await self._session.scalar(select(_TASK.uid).where(_TASK.name == name)) is not None:
            raise AlreadyExists(f"There is a task {name} already; choose another name.", name=name)

    async def put(self, task: Task) -> None:
        """Store a task and its nodes as they are now."""
        await self._session.merge(_task_row(task))
        await self._session.flush()
        for node in task.nodes:
            await self._session.merge(_node_row(task.uid, node))

    async def page(self, project: str, *, size: int, cursor: Cursor) -> Page[Task]:
        """Tasks of a project, newest first."""
        query = select(TaskRow).where(_TASK.project == project).order_by(_TASK.uid.desc()).limit(size + 1)
        if cursor:
            query = query.where(_TASK.uid < str(cursor[0]))
        rows = (await self._session.exec(query)).all()
        tasks = await self._with_nodes(rows[:size])
        return Page(tasks, (tasks[-1].uid,) if len(rows) > size else None)

    async def waiting_for_version(self) -> list[Task]:
        """Pending tasks without a version, oldest first."""
        return await self._where(_TASK.state == TaskState.PENDING, _TASK.version == "")

    async def under_way(self) -> list[Task]:
        """Tasks that have their version and have not ended, oldest first."""
        return await self._where(_TASK.state.in_((TaskState.PENDING, TaskState.RUNNING)), _TASK.version != "")

    async def terminating(self) -> list[Task]:
        """Tasks that were told to stop and still have not."""
        return await self._where(_TASK.state == TaskState.TERMINATING)

    async def active_uids(self) -> set[str]:
        """Uids of the tasks that have not ended."""
        open_states = (TaskState.PENDING, TaskState.RUNNING, TaskState.TERMINATING)
        rows = await self._session.exec(select(_TASK.uid).where(_TASK.state.in_(open_states)))
        return set(rows.all())

    async def counts(self) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
        """How many tasks there are by state, and how many nodes by kind and state."""
        tasks = await self._session.exec(select(_TASK.state, func.count()).group_by(_TASK.state))
        nodes = await self._session.exec(select(_NODE.node_id, _NODE.state, func.count()).group_by(_NODE.node_id, _NODE.state))
        return dict(tasks.all()), {(node_id, state): count for node_id, state, count in nodes.all()}

    async def _where(self, *conditions: Any) -> list[Task]:
        rows = (await self._session.exec(select(TaskRow).where(*conditions).order_by(_TASK.uid).limit(1000))).all()
        return await self._with_nodes(rows)

    async def _first(self, condition: Any) -> Task | None:
        query = select(TaskRow).where(condition)
        row = (await self._session.exec(query.with_for_update() if self._lock else query)).one_or_none()
        return None if row is None else (await self._with_nodes([row]))[0]

    async def _with_nodes(self, rows: Sequence[TaskRow]) -> list[Task]:
        found = await self._session.exec(select(NodeRow).where(_NODE.task_uid.in_([row.uid for row in rows])))
        nodes: dict[str, dict[str, Node]] = {row.uid: {} for row in rows}
        for node in found.all():
            nodes[node.task_uid][node.node_id] = _node(node)
        return [_task(row, tuple(nodes[row.uid][node_id] for node_id in NodeId if node_id in nodes[row.uid])) for row in rows]


class Logs:
    """Log lines of tasks."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def append(self, task: Task, node_id: str, lines: Sequence[tuple[str, str]], *, at: datetime) -> None:
        """Add lines ``(level, message)``; each gets the task's next sequence number. The caller's unit holds the task."""
        last = await self._session.scalar(select(func.max(_LOG.sequence)).where(_LOG.task_uid == task.uid))
        for sequence, (level, message) in enumerate(lines, start=(last or 0) + 1):
            self._session.add(LogRow(task_uid=task.uid, sequence=sequence, node_id=node_id, level=level, message=message, time=at))

    async def page(self, task: Task, *, node_id: str, after: int, size: int) -> Page[LogLine]:
        """Lines after a sequence number, oldest first."""
        query = select(LogRow).where(_LOG.task_uid == task.uid, _LOG.sequence > after).order_by(_LOG.sequence).limit(size + 1)
        if node_id:
            query = query.where(_LOG.node_id == node_id)
        rows = (await self._session.exec(query)).all()
        lines = [LogLine(row.sequence, row.node_id, row.level, row.message, row.time) for row in rows]
        return Page(lines[:size], (lines[size - 1].sequence,) if len(lines) > size else None)


class Models:
    """Models with the deployments that use them."""

    def __init__(self, session: AsyncSession, *, lock: bool) -> None:
        self._session = session
        self._lock = lock

    async def get(self, name: str) -> Model:
        """One model, locked for a unit that may commit.

        Raises:
            NotFound: no such model.
        """
        model = await self.find(name)
        if model is None:
            raise NotFound(f"There is no model {name}; list the models to see which there are.", name=name)
        return model

    async def find(self, name: str) -> Model | None:
        """One model, if it is there."""
        query = select(ModelRow).where(_MODEL.name == name)
        row = (await self._session.exec(query.with_for_update() if self._lock else query)).one_or_none()
        return None if row is None else (await self._with_deployments([row]))[0]

    async def has_digest(self, digest: str) -> bool:
        """Whether any model, retired ones included, has this bundle."""
        return await self._session.scalar(select(_MODEL.uid).where(_MODEL.bundle_digest == digest).limit(1)) is not None

    async def check_free(self, name: str) -> None:
        """Make sure that a new model may have this name.

        Raises:
            AlreadyExists: the name is taken.
        """
        if await self.find(name) is not None:
            raise AlreadyExists(f"There is a model {name} already; choose another name.", name=name)

    async def put(self, model: Model) -> None:
        """Store a model as it is now."""
        await self._session.merge(_model_row(model))

    async def bases(self, project: str) -> list[Model]:
        """The bases that are offered."""
        query = select(ModelRow).where(_MODEL.project == project, _MODEL.is_base, _MODEL.state == ModelState.READY)
        return await self._with_deployments((await self._session.exec(query.order_by(_MODEL.name))).all())

    async def page(self, project: str, *, size: int, cursor: Cursor) -> Page[Model]:
        """Models of a project, newest first, bases last."""
        query = select(ModelRow).where(_MODEL.project == project)
        if cursor:
            is_base, uid = bool(cursor[0]), str(cursor[1])
            older = (_MODEL.is_base == is_base) & (_MODEL.uid < uid)
            query = query.where(older if is_base else older | _MODEL.is_base)
        rows = (await self._session.exec(query.order_by(_MODEL.is_base, _MODEL.uid.desc()).limit(size + 1))).all()
        models = await self._with_deployments(rows[:size])
        last = (int(rows[size - 1].is_base), rows[size - 1].uid) if len(rows) > size else None
        return Page(models, last)

    async def deploy(self, deployment: str, model: str) -> None:
        """Note which model a deployment uses."""
        await self._session.merge(DeploymentRow(name=deployment, model=model))

    async def undeploy(self, deployment: str) -> None:
        """Note that a deployment is gone."""
        await self._session.exec(delete(DeploymentRow).where(_DEPLOYMENT.name == deployment))

    async def _with_deployments(self, rows: Sequence[ModelRow]) -> list[Model]:
        query = select(DeploymentRow).where(_DEPLOYMENT.model.in_([row.name for row in rows])).order_by(_DEPLOYMENT.name)
        uses = (await self._session.exec(query)).all()
        return [replace(_model(row), deployments=tuple(use.name for use in uses if use.model == row.name)) for row in rows]


class TrainerWork(UnitOfWork):
    """A unit of work of the trainer."""

    service = "trainer"
    metadata = METADATA

    @cached_property
    def tasks(self) -> Tasks:
        """See ``Tasks``."""
        return Tasks(self.session, lock=not self._read_only)

    @cached_property
    def logs(self) -> Logs:
        """See ``Logs``."""
        return Logs(self.session)

    @cached_property
    def models(self) -> Models:
        """See ``Models``."""
        return Models(self.session, lock=not self._read_only)


_NODE_FIELDS = ("attempt", "crashes", "progress", "message", "start_time", "end_time", "info", "measures")
_ORDER_FIELDS = ("dataset", "description", "algorithm", "base", "num_gpus", "gpu_type", "validation_fraction")
_TASK_FIELDS = (
    "name", "uid", "error_message", "version", "model", "revision", "create_time", "start_time", "end_time", "terminate_time",
)  # fmt: skip
_MODEL_FIELDS = (
    "name", "uid", "bundle_digest", "charset_digest", "num_characters", "model_size", "metrics", "base_metrics", "task",
    "dataset_version", "base", "code_version", "create_time",
)  # fmt: skip


def _pick(source: object, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def _task_row(task: Task) -> TaskRow:
    return TaskRow(
        **_pick(task, _TASK_FIELDS),
        **_pick(task.order, _ORDER_FIELDS),
        project=TASK.parse(task.name)["project"],
        request_id=task.request_id or None,
        mode=task.order.mode,
        further_datasets=list(task.order.further_datasets),
        state=task.state,
    )


def _task(row: TaskRow, nodes: tuple[Node, ...]) -> Task:
    order = TaskOrder(**_pick(row, _ORDER_FIELDS), mode=Mode(row.mode), further_datasets=tuple(row.further_datasets))
    return Task(**_pick(row, _TASK_FIELDS), order=order, request_id=row.request_id or "", state=TaskState(row.state), nodes=nodes)


def _node_row(task_uid: str, node: Node) -> NodeRow:
    return NodeRow(**_pick(node, _NODE_FIELDS), task_uid=task_uid, node_id=node.node_id, state=node.state)


def _node(row: NodeRow) -> Node:
    return Node(**_pick(row, _NODE_FIELDS), node_id=NodeId(row.node_id), state=NodeState(row.state))


def _model_row(model: Model) -> ModelRow:
    gate = None if model.gate is None else {"passed": model.gate.passed, "reasons": list(model.gate.reasons)}
    return ModelRow(
        **_pick(model, _MODEL_FIELDS),
        project=MODEL.parse(model.name)["project"],
        is_base=model.origin is Origin.BASE,
        origin=model.origin,
        state=model.state,
        gate=gate,
    )


def _model(row: ModelRow) -> Model:
    gate = None if row.gate is None else Verdict(bool(row.gate["passed"]), tuple(row.gate["reasons"]))
    return Model(**_pick(row, _MODEL_FIELDS), origin=Origin(row.origin), state=ModelState(row.state), gate=gate)
