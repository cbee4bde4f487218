"""The verbs on tasks: one transaction each, no remote call inside it."""

from libs.runtime.errors import InvalidInput
from libs.runtime.names import DATASET, PROJECT, TASK, check_id, new_id
from services.trainer.deps import Deps
from services.trainer.domain import NEEDED_IMAGES, DatasetNotReady, NoLabels, Task, TaskOrder, new_task
from services.trainer.events import put_task

MAX_REQUEST_ID = 64


async def create_task(deps: Deps, parent: str, task_id: str, order: TaskOrder, *, request_id: str) -> Task:
    """Create a task; it starts when the version of its dataset is frozen.

    Raises:
        InvalidName: the id breaks the rule, or parent or dataset is no such name.
        AlreadyExists: the name is taken.
        NotFound: no such dataset.
        DatasetNotReady: the dataset was never indexed.
        NoLabels: it has fewer than two labelled images.
        InvalidInput: whatever ``TaskOrder.checked`` refuses.
    """
    project = PROJECT.parse(parent)["project"]
    name = TASK.format(project=project, task=check_id(task_id, "task"))
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidInput(f"The request id has more than {MAX_REQUEST_ID} characters; use a shorter one.", maximum=MAX_REQUEST_ID)
    async with deps.work(read_only=True) as w:
        made = await w.tasks.of_request(project, request_id) if request_id else None
        bases = {model.name for model in await w.models.bases(project)}
    if made is not None:
        return made
    order = order.checked(bases=bases)
    await _check_dataset(deps, project, order.dataset)
    async with deps.work() as w:
        # Asked again inside the transaction: two equal calls may stand here at the same time.
        made = await w.tasks.of_request(project, request_id) if request_id else None
        if made is not None:
            return made
        task = new_task(name, new_id("tk"), order, request_id=request_id, at=w.now)
        await w.tasks.check_free(name)
        await put_task(w, task, before=None)
        await w.note_origin(task.uid)
        await w.commit()
    deps.task_created.set()
    return task


async def terminate_task(deps: Deps, name: str) -> Task:
    """Stop a task; its worker sees it within half a second.

    Raises:
        NotFound: no such task.
        WrongState: it succeeded or failed.
    """
    TASK.parse(name)
    async with deps.work() as w:
        task = await w.tasks.get(name)
        terminating = task.terminate(at=w.now)
        if terminating is not task:
            await put_task(w, terminating, before=task)
            await w.commit()
    return terminating


async def _check_dataset(deps: Deps, project: str, name: str) -> None:
    if DATASET.parse(name)["project"] != project:
        raise InvalidInput(f"{name} belongs to another project than the task; use a dataset of projects/{project}.", dataset=name)
    dataset = await deps.datasets.get(name)
    if not dataset.is_ready:
        raise DatasetNotReady(f"{name} is not indexed yet; wait until it is READY, then start the task.", dataset=name)
    if dataset.num_labeled < NEEDED_IMAGES:
        raise NoLabels(
            f"Of the {dataset.num_images} images of {name} {dataset.num_labeled} are labelled and at least {NEEDED_IMAGES} are needed; "
            "label and submit some images first (over 50 is good advice).",
            dataset=name,
            num_images=dataset.num_images,
            num_labeled=dataset.num_labeled,
        )
