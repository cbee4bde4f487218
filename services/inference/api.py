"""The gRPC methods: read, call one action, convert."""

import grpc
from google.protobuf.empty_pb2 import Empty

from inkwright.inference.v1 import deployment_pb2, inference_service_pb2, inference_service_pb2_grpc
from libs.runtime.names import DEPLOYMENT, PROJECT
from libs.runtime.paging import page_cursor, page_size, page_token
from libs.runtime.times import to_timestamp
from services.inference import actions, suggestions
from services.inference.convert import deployment_to_proto, quota_from_proto, resource_type_to_proto
from services.inference.deps import Deps
from services.inference.domain import Deployment

DEFAULT_PAGE_SIZE = 100

Context = grpc.aio.ServicerContext[object, object]


class InferenceApi(inference_service_pb2_grpc.InferenceServiceServicer):
    """See ``InferenceService`` in the protos."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def CreateDeployment(  # noqa: N802
        self, request: inference_service_pb2.CreateDeploymentRequest, context: Context
    ) -> deployment_pb2.Deployment:
        asked = request.deployment
        new = actions.NewDeployment(
            parent=request.parent,
            deployment_id=request.deployment_id,
            model=asked.model,
            resource_type=asked.resource_type,
            num_instances=asked.num_instances,
            quota=quota_from_proto(asked.quota),
            request_id=request.request_id,
        )
        return await self._reply(await actions.create_deployment(self._deps, new))

    async def GetDeployment(  # noqa: N802
        self, request: inference_service_pb2.GetDeploymentRequest, context: Context
    ) -> deployment_pb2.Deployment:
        DEPLOYMENT.parse(request.name)
        async with self._deps.work(read_only=True) as w:
            return await self._reply(await w.deployments.get(request.name))

    async def ListDeployments(  # noqa: N802
        self, request: inference_service_pb2.ListDeploymentsRequest, context: Context
    ) -> inference_service_pb2.ListDeploymentsResponse:
        PROJECT.parse(request.parent)
        size, after = page_size(request, default=DEFAULT_PAGE_SIZE), page_cursor(request)
        async with self._deps.work(read_only=True) as w:
            page = await w.deployments.page(request.parent, size=size, after=after, with_suggestions=request.show_suggestion)
            assignments = await w.assignments.all()
        return inference_service_pb2.ListDeploymentsResponse(
            deployments=[deployment_to_proto(deployment, assignments) for deployment in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )

    async def ScaleDeployment(  # noqa: N802
        self, request: inference_service_pb2.ScaleDeploymentRequest, context: Context
    ) -> deployment_pb2.Deployment:
        return await self._reply(await actions.scale_deployment(self._deps, request.name, request.num_instances))

    async def StopDeployment(  # noqa: N802
        self, request: inference_service_pb2.StopDeploymentRequest, context: Context
    ) -> deployment_pb2.Deployment:
        return await self._reply(await actions.stop_deployment(self._deps, request.name))

    async def StartDeployment(  # noqa: N802
        self, request: inference_service_pb2.StartDeploymentRequest, context: Context
    ) -> deployment_pb2.Deployment:
        return await self._reply(await actions.start_deployment(self._deps, request.name))

    async def DeleteDeployment(self, request: inference_service_pb2.DeleteDeploymentRequest, context: Context) -> Empty:  # noqa: N802
        await actions.delete_deployment(self._deps, request.name, etag=request.etag)
        return Empty()

    async def RevealToken(  # noqa: N802
        self, request: inference_service_pb2.RevealTokenRequest, context: Context
    ) -> inference_service_pb2.RevealTokenResponse:
        return inference_service_pb2.RevealTokenResponse(token=await actions.reveal_token(self._deps, request.name))

    async def ListResourceTypes(  # noqa: N802
        self, request: inference_service_pb2.ListResourceTypesRequest, context: Context
    ) -> inference_service_pb2.ListResourceTypesResponse:
        PROJECT.parse(request.parent)
        size, cursor = page_size(request, default=DEFAULT_PAGE_SIZE), page_cursor(request)
        begin = int(cursor[0]) if cursor else 0
        entries = await actions.resource_types(self._deps)
        end = begin + size
        return inference_service_pb2.ListResourceTypesResponse(
            resource_types=[resource_type_to_proto(entry, num_available=free) for entry, free in entries[begin:end]],
            next_page_token=page_token(request, (end,) if end < len(entries) else None),
        )

    async def AcquireSuggestionInstance(  # noqa: N802
        self, request: inference_service_pb2.AcquireSuggestionInstanceRequest, context: Context
    ) -> inference_service_pb2.AcquireSuggestionInstanceResponse:
        lease = await suggestions.acquire(self._deps, request.model)
        return inference_service_pb2.AcquireSuggestionInstanceResponse(
            endpoint=lease.endpoint,
            model=lease.deployment.model,
            bundle_digest=lease.deployment.bundle_digest,
            expire_time=to_timestamp(lease.expire_time),
        )

    async def _reply(self, deployment: Deployment) -> deployment_pb2.Deployment:
        async with self._deps.work(read_only=True) as w:
            return deployment_to_proto(deployment, await w.assignments.all(deployment=deployment.name))
