# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods about health reports and look-alikes."""

from typing import Any

import grpc

from inkwright.dataset.v1 import health_pb2
from libs.runtime.names import DATASET, FINDING, HEALTH, NORMALIZATION
from libs.runtime.paging import page_cursor, page_size, page_token
from services.dataset.health import actions as health_actions
from services.dataset.health import convert as health_convert
from services.dataset.health.surveyor import Surveyor
from services.dataset.store import Work

Context = grpc.aio.ServicerContext[Any, Any]


class HealthMethods:
    """A part of ``DatasetService``."""

    _work: Work
    _surveyor: Surveyor

    async def GetHealthReport(self, request: health_pb2.GetHealthReportRequest, context: Context) -> health_pb2.HealthReport:
        """See the proto."""
        return health_convert.report_to_proto(*await health_actions.get_health_report(self._work, _dataset(HEALTH.parse(request.name))))

    async def RefreshHealthReport(self, request: health_pb2.RefreshHealthReportRequest, context: Context) -> health_pb2.HealthReport:
        """See the proto."""
        health = await health_actions.refresh_health_report(self._work, _dataset(HEALTH.parse(request.name)))
        self._surveyor.wake()
        return health_convert.report_to_proto(*health)

    async def ListFindingImages(
        self, request: health_pb2.ListFindingImagesRequest, context: Context
    ) -> health_pb2.ListFindingImagesResponse:
        """See the proto."""
        ids = FINDING.parse(request.parent)
        dataset, page = await health_actions.list_finding_images(
            self._work, _dataset(ids), ids["finding"], size=page_size(request), after=page_cursor(request)
        )
        return health_pb2.ListFindingImagesResponse(
            images=[health_convert.found_to_proto(dataset, found) for found in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )

    async def PreviewNormalization(
        self, request: health_pb2.PreviewNormalizationRequest, context: Context
    ) -> health_pb2.PreviewNormalizationResponse:
        """See the proto."""
        dataset, page = await health_actions.preview_normalization(
            self._work, request.parent, size=page_size(request), after=page_cursor(request)
        )
        return health_pb2.PreviewNormalizationResponse(
            lines=[health_convert.line_to_proto(dataset, line) for line in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )

    async def NormalizeLabels(self, request: health_pb2.NormalizeLabelsRequest, context: Context) -> health_pb2.Normalization:
        """See the proto."""
        started = await health_actions.normalize_labels(self._work, request.name)
        self._surveyor.wake()
        return health_convert.normalization_to_proto(*started)

    async def GetNormalization(self, request: health_pb2.GetNormalizationRequest, context: Context) -> health_pb2.Normalization:
        """See the proto."""
        name = _dataset(NORMALIZATION.parse(request.name))
        return health_convert.normalization_to_proto(*await health_actions.get_normalization(self._work, name))

    async def ListNormalizedFiles(
        self, request: health_pb2.ListNormalizedFilesRequest, context: Context
    ) -> health_pb2.ListNormalizedFilesResponse:
        """See the proto."""
        name = _dataset(NORMALIZATION.parse(request.parent))
        dataset, page = await health_actions.list_normalized_files(self._work, name, size=page_size(request), after=page_cursor(request))
        return health_pb2.ListNormalizedFilesResponse(
            files=[health_convert.file_to_proto(dataset, file) for file in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )


def _dataset(ids: dict[str, str]) -> str:
    return DATASET.format(project=ids["project"], dataset=ids["dataset"])
