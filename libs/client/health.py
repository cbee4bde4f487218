"""Health reports of datasets and the normalising of their labels, as typed calls."""

from collections.abc import Callable, Iterator

from inkwright.dataset.v1 import dataset_service_pb2, health_pb2
from libs.client.rest import RestClient, pages

DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]
PAGE_SIZE = 500


class Health:
    """What surveys found.

    Every method raises ``ApiError`` when the server refuses and ``Unreachable`` when it does not answer.

    Args:
        rest: the installation.
        full_name: of a dataset that is named short.
    """

    def __init__(self, rest: RestClient, full_name: Callable[[str], str]) -> None:
        self._rest = rest
        self._full_name = full_name

    def report(self, dataset: str) -> health_pb2.HealthReport:
        """The last finished report, and how far a running survey is."""
        request = health_pb2.GetHealthReportRequest(name=f"{self._full_name(dataset)}/health")
        return self._rest.call(DATASETS, "GetHealthReport", request, health_pb2.HealthReport)

    def refresh(self, dataset: str) -> health_pb2.HealthReport:
        """Start a survey."""
        request = health_pb2.RefreshHealthReportRequest(name=f"{self._full_name(dataset)}/health")
        return self._rest.call(DATASETS, "RefreshHealthReport", request, health_pb2.HealthReport)

    def finding_images(self, dataset: str, code: str) -> Iterator[health_pb2.FindingImage]:
        """All images of one finding."""
        request = health_pb2.ListFindingImagesRequest(parent=f"{self._full_name(dataset)}/health/findings/{code}", page_size=PAGE_SIZE)
        for answer in pages(self._rest, DATASETS, "ListFindingImages", request, health_pb2.ListFindingImagesResponse):
            yield from answer.images

    def preview_normalization(self, dataset: str) -> Iterator[health_pb2.NormalizedLine]:
        """Every line that would be written in other code points."""
        request = health_pb2.PreviewNormalizationRequest(parent=self._full_name(dataset), page_size=PAGE_SIZE)
        for answer in pages(self._rest, DATASETS, "PreviewNormalization", request, health_pb2.PreviewNormalizationResponse):
            yield from answer.lines

    def normalize(self, dataset: str) -> health_pb2.Normalization:
        """Start to write them."""
        request = health_pb2.NormalizeLabelsRequest(name=self._full_name(dataset))
        return self._rest.call(DATASETS, "NormalizeLabels", request, health_pb2.Normalization)

    def normalization(self, dataset: str) -> health_pb2.Normalization:
        """How far that is."""
        request = health_pb2.GetNormalizationRequest(name=f"{self._full_name(dataset)}/normalization")
        return self._rest.call(DATASETS, "GetNormalization", request, health_pb2.Normalization)

    def normalized_files(self, dataset: str) -> Iterator[health_pb2.NormalizedFile]:
        """What became of each label file."""
        request = health_pb2.ListNormalizedFilesRequest(parent=f"{self._full_name(dataset)}/normalization", page_size=PAGE_SIZE)
        for answer in pages(self._rest, DATASETS, "ListNormalizedFiles", request, health_pb2.ListNormalizedFilesResponse):
            yield from answer.files
