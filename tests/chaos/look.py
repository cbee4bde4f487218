"""What stands on an installation: pages, label files, the index of its data sets, tasks, models, deployments."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.inference.v1 import deployment_pb2
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from inkwright.trainer.v1 import task_pb2
from libs.client.inkwright import DATASETS, LABELING, Inkwright
from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.reading import read_folder
from tests.chaos.checker import Logged, PageSeen, Seen, TaskSeen


def look(client: Inkwright, folder: Path, pages: Sequence[str], images_of: Mapping[str, int], picture: Path | None) -> Seen:
    """Everything the checker asks about.

    Args:
        client: of the installation.
        folder: of the data set ``cards``.
        pages: names of its pages.
        images_of: how many images lie in the folder of each data set, by name.
        picture: what everybody has read; ``None`` where nothing was deployed.
    """
    rows = {image.name: image for image in client.list_images("cards")}
    datasets = client.list_datasets()
    deployments = client.list_deployments()
    return Seen(
        pages={page: _page_seen(client, folder, client.get_page(page), rows) for page in pages},
        datasets={dataset.name: dataset.counts.num_images for dataset in datasets},
        images_of=images_of,
        tasks=_tasks_seen(client),
        versions=[version for dataset in datasets for version in _versions(client, dataset.name)],
        deployments={deployment.name: deployment_pb2.Deployment.State.Name(deployment.state) for deployment in deployments},
        texts={deployment.bundle_digest: _text(client, deployment.model, picture) for deployment in deployments if picture is not None},
        num_dead_letters=len(client.list_dead_letters()),
    )


def is_at_rest(client: Inkwright, folder: Path, pages: Sequence[str]) -> bool:
    """Whether the index knows of every label file; that one was submitted reaches it as a fact, by way of a bus that may have been
    killed last."""
    rows = {image.name: image for image in client.list_images("cards")}
    found = [client.get_page(page) for page in pages]
    return all(_index_boxes(rows[page.image]) == _file_boxes(folder, page) for page in found)


def _page_seen(client: Inkwright, folder: Path, page: page_pb2.Page, rows: Mapping[str, dataset_pb2.Image]) -> PageSeen:
    request = labeling_service_pb2.ListOperationsRequest(parent=page.name, page_size=1000)
    log: list[Logged] = []
    while True:
        answer = client.rest.call(LABELING, "ListOperations", request, labeling_service_pb2.ListOperationsResponse)
        log += map(_logged, answer.operations)
        if not answer.operations:
            break
        request.after_sequence = answer.operations[-1].sequence
    return PageSeen(
        log=log,
        sequence=page.sequence,
        submitted_sequence=page.submitted_sequence,
        boxes={box.box_id for box in page.boxes},
        file_boxes=_file_boxes(folder, page),
        index_boxes=_index_boxes(rows[page.image]),
    )


def _logged(operation: page_pb2.Operation) -> Logged:
    return Logged(
        operation.operation_id,
        adds=operation.create_box.box.box_id,
        removes=operation.delete_box.box_id,
        by_model=operation.create_box.box.source == page_pb2.Box.SUGGESTED,
    )


def _file_boxes(folder: Path, page: page_pb2.Page) -> int | None:
    file = (folder / page.key).with_suffix(".xml")
    return file.read_bytes().count(b"<object>") if file.exists() else None


def _index_boxes(row: dataset_pb2.Image) -> int | None:
    return row.num_boxes if row.label_state == dataset_pb2.Image.SUBMITTED else None


def _tasks_seen(client: Inkwright) -> dict[str, TaskSeen]:
    models = client.list_models()
    return {
        task.name: TaskSeen(
            task_pb2.Task.State.Name(task.state),
            error=task.error_message,
            version=task.version,
            model=task.model,
            models=tuple(model.name for model in models if model.task == task.name),
        )
        for task in client.list_tasks()
    }


def _versions(client: Inkwright, dataset: str) -> Iterator[str]:
    request = dataset_service_pb2.ListVersionsRequest(parent=dataset, page_size=1000)
    for version in client.rest.call(DATASETS, "ListVersions", request, dataset_service_pb2.ListVersionsResponse).versions:
        yield version.name


def _text(client: Inkwright, model: str, picture: Path) -> tuple[str, ...]:
    """What a model's bundle reads without any server; the picture lies in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="inkwright-read-") as folder:
        bundle = Path(folder) / "model.inkbundle"
        client.export_model(model, bundle)
        read = read_folder(open_bundle(bundle), picture.parent, num_threads=1)
    return tuple(line["label"] for line in read.pages[picture.stem])
