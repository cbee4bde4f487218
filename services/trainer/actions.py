"""The verbs on tasks: one transaction each, no remote call inside it."""

from dataclasses import replace

from libs.runtime.errors import InvalidInput
from libs.runtime.names import DATASET, PROJECT, TASK, VERSION, check_id, new_id
from services.trainer.deps import Deps
from services.trainer.domain import NEEDED_IMAGES, DatasetNotReady, NoLabels, Task, TaskOrder, new_task
from services.trainer.events import put_task

MAX_REQUEST_ID = 64
MAX_DATASETS = 21
"""One and the further ones that a version may hold."""


async def create_task(deps: Deps, parent: str, task_id: str, order: TaskOrder, *, version: str, request_id: str) -> Task:
    """Create a task; it starts when the version of its datasets is frozen, at once on a ``version`` that is.

    Raises:
        InvalidName: the id breaks the rule, or parent or dataset is no such name.
        AlreadyExists: the name is taken.
        NotFound: no such dataset or version.
        DatasetNotReady: a dataset was never indexed.
        NoLabels: they have fewer than two labelled images.
        InvalidInput: datasets and a version were named, too many datasets, one of another project, or what ``TaskOrder.checked`` refuses.
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
    order = await _order_on_version(deps, project, order, version) if version else await _check_datasets(deps, project, order)
    async with deps.work() as w:
        # Asked again inside the transaction: two equal calls may stand here at the same time.
        made = await w.tasks.of_request(project, request_id) if request_id else None
        if made is not None:
            return made
        task = new_task(name, new_id("tk"), order, request_id=request_id, at=w.now)
        await w.tasks.check_free(name)
        await put_task(w, task, before=None)
        if version:
            frozen = task.freeze(version, at=w.now)
            await put_task(w, frozen, before=task)
            task = frozen
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


async def _order_on_version(deps: Deps, project: str, order: TaskOrder, name: str) -> TaskOrder:
    """The order with the datasets of the version."""
    if VERSION.parse(name)["project"] != project:
        raise _of_another_project(name, project)
    if order.dataset or order.further_datasets:
        raise InvalidInput(f"Give datasets, or the version {name} that was made of some, not both.", version=name)
    version = await deps.datasets.get_version(name)
    _check_labeled(name, version.num_images, version.num_labeled)
    return replace(order, dataset=version.datasets[0], further_datasets=version.datasets[1:])


async def _check_datasets(deps: Deps, project: str, order: TaskOrder) -> TaskOrder:
    if len(order.datasets) > MAX_DATASETS:
        raise InvalidInput(f"{len(order.datasets)} datasets were given; train on at most {MAX_DATASETS}.", num_datasets=len(order.datasets))
    for name in order.datasets:
        if DATASET.parse(name)["project"] != project:
            raise _of_another_project(name, project)
    datasets = [await deps.datasets.get(name) for name in order.datasets]
    for dataset in datasets:
        if not dataset.is_ready:
            raise DatasetNotReady(f"{dataset.name} is not indexed yet; wait until it is READY, then start the task.", dataset=dataset.name)
    num_images, num_labeled = (sum(numbers) for numbers in zip(*((one.num_images, one.num_labeled) for one in datasets), strict=True))
    _check_labeled(" and ".join(order.datasets), num_images, num_labeled)
    return order


def _of_another_project(name: str, project: str) -> InvalidInput:
    return InvalidInput(f"{name} belongs to another project than the task; use one of projects/{project}.", name=name)


def _check_labeled(name: str, num_images: int, num_labeled: int) -> None:
    if num_labeled < NEEDED_IMAGES:
        raise NoLabels(
            f"Of the {num_images} images of {name} {num_labeled} are labelled and at least {NEEDED_IMAGES} are needed; "
            "label and submit some images first (over 50 is good advice).",
            dataset=name,
            num_images=num_images,
            num_labeled=num_labeled,
        )
