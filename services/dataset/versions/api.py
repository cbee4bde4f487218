# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods of versions and test sets: read the request, call one action, convert."""

from typing import Any

import grpc

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, version_pb2
from libs.runtime.paging import page_cursor, page_size, page_token
from services.dataset.image import image_id_of
from services.dataset.image_names import image_id_in
from services.dataset.store import Work
from services.dataset.versions import actions as version_actions
from services.dataset.versions import convert

Context = grpc.aio.ServicerContext[Any, Any]


class VersionMethods:
    """Of ``DatasetService``."""

    _work: Work

    async def FreezeDataset(self, request: dataset_service_pb2.FreezeDatasetRequest, context: Context) -> dataset_pb2.Version:
        """See the proto."""
        return convert.version_to_proto(
            *await version_actions.freeze_dataset(
                self._work,
                request.name,
                further=request.further_datasets,
                filter=convert.filter_from_proto(request.filter),
                request_id=request.request_id,
            )
        )

    async def GetVersion(self, request: dataset_service_pb2.GetVersionRequest, context: Context) -> dataset_pb2.Version:
        """See the proto."""
        return convert.version_to_proto(*await version_actions.get_version(self._work, request.name))

    async def ListVersions(
        self, request: dataset_service_pb2.ListVersionsRequest, context: Context
    ) -> dataset_service_pb2.ListVersionsResponse:
        """See the proto."""
        dataset, page = await version_actions.list_versions(self._work, request.parent, size=page_size(request), after=page_cursor(request))
        return dataset_service_pb2.ListVersionsResponse(
            versions=[convert.version_to_proto(dataset, version) for version in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )

    async def ListVersionEntries(
        self, request: dataset_service_pb2.ListVersionEntriesRequest, context: Context
    ) -> dataset_service_pb2.ListVersionEntriesResponse:
        """See the proto."""
        version, page = await version_actions.list_version_entries(
            self._work, request.parent, size=page_size(request), after=page_cursor(request)
        )
        return dataset_service_pb2.ListVersionEntriesResponse(
            entries=[convert.entry_to_proto(version, entry) for entry in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )

    async def DiffVersions(self, request: version_pb2.DiffVersionsRequest, context: Context) -> version_pb2.DiffVersionsResponse:
        """See the proto."""
        counts, page = await version_actions.diff_versions(
            self._work, request.name, request.other, size=page_size(request), after=page_cursor(request)
        )
        return version_pb2.DiffVersionsResponse(
            differences=[convert.difference_to_proto(one) for one in page.items],
            next_page_token=page_token(request, page.next_cursor),
            counts=convert.diff_counts_to_proto(counts),
        )

    async def SetTestImages(self, request: version_pb2.SetTestImagesRequest, context: Context) -> version_pb2.SetTestImagesResponse:
        """See the proto."""
        named = [image_id_in(request.parent, name) for name in request.names]
        change = await version_actions.set_test_images(
            self._work,
            request.parent,
            is_test=request.is_test,
            image_ids=[*named, *map(image_id_of, request.keys)],
            key_prefix=request.key_prefix,
        )
        return version_pb2.SetTestImagesResponse(num_changed=change.num_changed, num_test=change.num_test)

    async def ListTestImages(self, request: version_pb2.ListTestImagesRequest, context: Context) -> version_pb2.ListTestImagesResponse:
        """See the proto."""
        dataset, page, total = await version_actions.list_test_images(
            self._work, request.parent, size=page_size(request), after=page_cursor(request)
        )
        return version_pb2.ListTestImagesResponse(
            images=[version_pb2.TestImage(image=dataset.image_name(image_id), key=key) for image_id, key in page.items],
            next_page_token=page_token(request, page.next_cursor),
            total_size=total,
        )
