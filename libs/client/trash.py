"""Calls about datasets that were deleted and can still be had back."""

from google.protobuf.empty_pb2 import Empty

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, trash_pb2
from libs.client.rest import RestClient, pages

DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]
PAGE_SIZE = 1_000


class Trash:
    """The trash of a project.

    Every method raises ``ApiError`` when the server refuses and ``Unreachable`` when it does not answer.
    """

    def __init__(self, rest: RestClient, project: str) -> None:
        self._rest = rest
        self._project = project

    def delete(self, dataset: str) -> None:
        """Move a dataset to the trash."""
        self._rest.call(DATASETS, "DeleteDataset", dataset_service_pb2.DeleteDatasetRequest(name=dataset), Empty)

    def list_all(self) -> list[dataset_pb2.Dataset]:
        """What is in it."""
        request = trash_pb2.ListTrashRequest(parent=self._project, page_size=PAGE_SIZE)
        answers = pages(self._rest, DATASETS, "ListTrash", request, trash_pb2.ListTrashResponse)
        return [row for answer in answers for row in answer.datasets]

    def restore(self, dataset: str) -> dataset_pb2.Dataset:
        """Take a dataset out of it."""
        return self._rest.call(DATASETS, "RestoreDataset", trash_pb2.RestoreDatasetRequest(name=dataset), dataset_pb2.Dataset)

    def purge(self, dataset: str) -> None:
        """Forget a dataset in it for good."""
        self._rest.call(DATASETS, "PurgeDataset", trash_pb2.PurgeDatasetRequest(name=dataset), Empty)
