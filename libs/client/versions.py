"""Versions and test sets of datasets, seen from outside."""

import uuid
from collections.abc import Iterator, Sequence

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, version_pb2
from libs.client.rest import RestClient, pages

_DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]
_PAGE_SIZE = 500


class Versions:
    """Part of ``Inkwright``; raises what that raises. Datasets are named short or whole, versions ``DATASET/VERSION`` or whole."""

    def __init__(self, rest: RestClient, project: str) -> None:
        self._rest = rest
        self._project = project

    def freeze(self, dataset: str, *, further: Sequence[str] = (), filter: dataset_pb2.VersionFilter | None = None) -> dataset_pb2.Version:
        """Freeze what a dataset holds now, or a part of it; ``further`` datasets belong to the version too."""
        request = dataset_service_pb2.FreezeDatasetRequest(
            name=self._dataset(dataset),
            request_id=uuid.uuid4().hex,
            filter=filter,
            further_datasets=[self._dataset(one) for one in further],
        )
        return self._rest.call(_DATASETS, "FreezeDataset", request, dataset_pb2.Version)

    def get(self, version: str) -> dataset_pb2.Version:
        """One version."""
        request = dataset_service_pb2.GetVersionRequest(name=self.full_name(version))
        return self._rest.call(_DATASETS, "GetVersion", request, dataset_pb2.Version)

    def list(self, dataset: str) -> list[dataset_pb2.Version]:
        """Newest first."""
        request = dataset_service_pb2.ListVersionsRequest(parent=self._dataset(dataset), page_size=_PAGE_SIZE)
        answers = pages(self._rest, _DATASETS, "ListVersions", request, dataset_service_pb2.ListVersionsResponse)
        return [row for answer in answers for row in answer.versions]

    def diff(self, old: str, new: str) -> Iterator[version_pb2.DiffVersionsResponse]:
        """What has changed, page by page; each has the counts of the whole."""
        request = version_pb2.DiffVersionsRequest(name=self.full_name(old), other=self.full_name(new), page_size=_PAGE_SIZE)
        return pages(self._rest, _DATASETS, "DiffVersions", request, version_pb2.DiffVersionsResponse)

    def set_test_images(self, dataset: str, *, is_test: bool, keys: Sequence[str], prefix: str) -> version_pb2.SetTestImagesResponse:
        """Take images into the test set or out of it, by key or by the beginning of their keys."""
        request = version_pb2.SetTestImagesRequest(parent=self._dataset(dataset), is_test=is_test, keys=keys, key_prefix=prefix)
        return self._rest.call(_DATASETS, "SetTestImages", request, version_pb2.SetTestImagesResponse)

    def test_images(self, dataset: str) -> Iterator[version_pb2.TestImage]:
        """The test set, in key order."""
        request = version_pb2.ListTestImagesRequest(parent=self._dataset(dataset), page_size=_PAGE_SIZE)
        for answer in pages(self._rest, _DATASETS, "ListTestImages", request, version_pb2.ListTestImagesResponse):
            yield from answer.images

    def full_name(self, version: str) -> str:
        """``cards/v_1`` → ``projects/default/datasets/cards/versions/v_1``; a whole name stays."""
        dataset, slash, last = version.partition("/")
        return f"{self._dataset(dataset)}/versions/{last}" if slash and dataset != "projects" else version

    def _dataset(self, name: str) -> str:
        return name if name.startswith("projects/") else f"{self._project}/datasets/{name}"
