"""What a worker does to a task: begin a node, note how far it is, end it. One transaction each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from libs.runtime.errors import NotFound, WrongState
from libs.runtime.names import MODEL, TASK, new_id
from services.trainer.bundles import BundleFacts
from services.trainer.deps import Deps
from services.trainer.domain import Task, TaskState
from services.trainer.events import put_task, tell_model
from services.trainer.graph import NodeId, NodeState
from services.trainer.model import Model, Origin, Verdict
from services.trainer.nodes.spec import NodeSpec, read_json
from services.trainer.store import TrainerWork

MAX_MODEL_ID = 30
MAX_LINE = 4000


@dataclass(frozen=True)
class Hold:
    """One try of one node, held by one worker.

    Args:
        bases: digests of the bundles by name: of the task's base, or of all that ``preflight`` may choose from, the default first.
        was_taken: whether another worker was running it and fell silent; it may live.
    """

    task: Task
    node_id: NodeId
    attempt: int
    bases: Mapping[str, str]
    was_taken: bool


@dataclass
class Said:
    """What a child said since it was last written down."""

    fraction: float = 0.0
    message: str = ""
    measures: dict[str, float] = field(default_factory=dict)
    info: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Made:
    """What a task made, read from its work folder after the last node."""

    facts: BundleFacts
    metrics: dict[str, float]
    base_metrics: dict[str, float]
    verdict: Verdict

    @classmethod
    def read(cls, facts: BundleFacts, spec: NodeSpec) -> "Made":
        """Read what ``evaluate`` and ``gate`` wrote."""
        evaluation, verdict = read_json(spec.evaluation_file), read_json(spec.verdict_file)
        gate = Verdict(bool(verdict["passed"]), tuple(verdict["reasons"]))
        return cls(facts, evaluation["metrics"], evaluation["base_metrics"], gate)


async def begin_node(deps: Deps, task_name: str, node_id: NodeId, *, first_delivery: bool) -> Hold | None:
    """Begin a try.

    Args:
        first_delivery: whether the job came for the first time. If it did not, a node found running was left by a worker
            that vanished; if it did, the job was published twice and somebody else runs the node.

    Returns:
        ``None`` when there is nothing to run: the task ended, or the node is over, run by another, or was given up now.
    """
    async with deps.work() as w:
        try:
            task = await w.tasks.get(task_name)
        except NotFound:
            return None
        if task.state is TaskState.TERMINATING:
            # The worker that should have ended it vanished.
            await put_task(w, task.stopped(node_id, at=w.now), before=task)
            await w.commit()
            return None
        node = task.node(node_id)
        runnable = node.state is NodeState.QUEUED or (node.state is NodeState.RUNNING and not first_delivery)
        if task.has_ended or not runnable:
            return None
        begun = task.begin(node_id, at=w.now)
        await put_task(w, begun, before=task)
        if begun.has_ended:
            await w.logs.append(begun, node_id, [("error", begun.error_message)], at=w.now)
            await w.commit()
            return None
        if node.attempt:
            await w.logs.append(begun, node_id, [("warning", f"Try {begun.node(node_id).attempt} begins")], at=w.now)
        if begun.order.base:
            offered = [await w.models.get(begun.order.base)]
        else:
            offered = await w.models.bases(TASK.parse(task_name)["project"])
        await w.commit()
    default_last = sorted(offered, key=lambda model: model.name.endswith(f"/{deps.settings.trainer_default_base}"))
    bases = {model.name: model.bundle_digest for model in reversed(default_last)}
    return Hold(begun, node_id, begun.node(node_id).attempt, bases, was_taken=node.state is NodeState.RUNNING)


async def is_held(deps: Deps, hold: Hold) -> bool:
    """Whether this try may go on."""
    async with deps.work(read_only=True) as w:
        task = await w.tasks.get(hold.task.name)
    return task.is_held(hold.node_id, hold.attempt)


async def note(deps: Deps, hold: Hold, said: Said) -> None:
    """Write down what the child said.

    Raises:
        WrongState: this try does not hold the node any more.
    """
    async with deps.work() as w:
        await _noted(w, hold, said)
        await w.commit()


async def succeed_node(deps: Deps, hold: Hold, said: Said, *, base: str = "", made: Made | None = None) -> Task:
    """The node is done; with ``base``, that was chosen; with ``made``, the whole task is, and its model is registered.

    Raises:
        WrongState: this try does not hold the node any more.
    """
    async with deps.work() as w:
        task = await _noted(w, hold, said)
        done = task.succeed(hold.node_id, hold.attempt, at=w.now)
        if base:
            done = done.choose_base(base)
        if made is not None:
            model = await _registered(w, done, made)
            done = done.finish(model.name, at=w.now)
        await put_task(w, done, before=task)
        await w.commit()
    return done


async def fail_node(deps: Deps, hold: Hold, said: Said, reason: str) -> Task:
    """The node cannot be done; the task fails.

    Raises:
        WrongState: this try does not hold the node any more.
    """
    async with deps.work() as w:
        task = await _noted(w, hold, said)
        failed = task.fail(hold.node_id, reason, at=w.now)
        await put_task(w, failed, before=task)
        await w.logs.append(failed, hold.node_id, [("error", reason[:MAX_LINE])], at=w.now)
        await w.commit()
    return failed


async def leave_node(deps: Deps, hold: Hold, said: Said, *, requeue: bool) -> Task:
    """The child was stopped: by the worker's own end (``requeue``), because the task is being terminated, or because another holds it."""
    async with deps.work() as w:
        task = await w.tasks.get(hold.task.name)
        left = task
        if task.state is TaskState.TERMINATING:
            left = task.stopped(hold.node_id, at=w.now)
        elif requeue and task.is_held(hold.node_id, hold.attempt):
            task = await _noted(w, hold, said)
            left = task.requeue(hold.node_id, hold.attempt)
        if left is not task:
            await put_task(w, left, before=task)
            await w.commit()
    return left


async def _noted(w: TrainerWork, hold: Hold, said: Said) -> Task:
    before = await w.tasks.get(hold.task.name)
    if not before.is_held(hold.node_id, hold.attempt):
        raise WrongState(f"Try {hold.attempt} of {hold.node_id} is over.", task=before.name, node=hold.node_id)
    task = before.advance(hold.node_id, hold.attempt, progress=said.fraction, message=said.message, measures=said.measures, info=said.info)
    if task.node(hold.node_id) != before.node(hold.node_id):
        await put_task(w, task, before=before)
    await w.logs.append(task, hold.node_id, _cut(said.lines), at=w.now)
    return task


async def _registered(w: TrainerWork, task: Task, made: Made) -> Model:
    model = Model(
        name=await _free_model_name(w, task.name),
        uid=new_id("md"),
        origin=Origin.TRAINED,
        create_time=w.now,
        metrics=made.metrics,
        base_metrics=made.base_metrics,
        task=task.name,
        dataset_version=task.version,
        base=task.order.base,
        gate=made.verdict,
        **asdict(made.facts),
    )
    await w.models.put(model)
    tell_model(w, model)
    return model


async def _free_model_name(w: TrainerWork, task_name: str) -> str:
    """The task's id, or with a number where an imported model or a base has that name."""
    ids = TASK.parse(task_name)
    name, number = MODEL.format(project=ids["project"], model=ids["task"]), 1
    while await w.models.find(name) is not None:
        number += 1
        suffix = f"-{number}"
        name = MODEL.format(project=ids["project"], model=ids["task"][: MAX_MODEL_ID - len(suffix)] + suffix)
    return name


def _cut(lines: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(level, message[:MAX_LINE]) for level, message in lines]
