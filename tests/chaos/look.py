"""What stands on an installation: its pages, their label files and the index of its data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from inkwright.dataset.v1 import dataset_pb2
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from libs.client.inkwright import LABELING, Inkwright
from tests.chaos.history import PageSeen, Seen


def look(client: Inkwright, folder: Path, pages: Sequence[str], images_of: Mapping[str, int]) -> Seen:
    """Everything the checker asks about.

    Args:
        client: of the installation.
        folder: of the data set ``cards``.
        pages: names of its pages.
        images_of: how many images lie in the folder of each data set, by name.
    """
    rows = {image.name: image for image in client.list_images("cards")}
    return Seen(
        pages={page: _page_seen(client, folder, client.get_page(page), rows) for page in pages},
        datasets={dataset.name: dataset.counts.num_images for dataset in client.list_datasets()},
        images_of=images_of,
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
    operations: list[str] = []
    while True:
        answer = client.rest.call(LABELING, "ListOperations", request, labeling_service_pb2.ListOperationsResponse)
        operations += [operation.operation_id for operation in answer.operations]
        if not answer.operations:
            break
        request.after_sequence = answer.operations[-1].sequence
    return PageSeen(
        operation_ids=operations,
        sequence=page.sequence,
        submitted_sequence=page.submitted_sequence,
        boxes={box.box_id for box in page.boxes},
        file_boxes=_file_boxes(folder, page),
        index_boxes=_index_boxes(rows[page.image]),
    )


def _file_boxes(folder: Path, page: page_pb2.Page) -> int | None:
    file = (folder / page.key).with_suffix(".xml")
    return file.read_bytes().count(b"<object>") if file.exists() else None


def _index_boxes(row: dataset_pb2.Image) -> int | None:
    return row.num_boxes if row.label_state == dataset_pb2.Image.SUBMITTED else None
