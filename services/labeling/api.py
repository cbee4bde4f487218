# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods: read the request, call one action, convert."""

from typing import Any

import grpc

from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from inkwright.labeling.v1.labeling_service_pb2_grpc import LabelingServiceServicer
from libs.runtime import call_context
from libs.runtime.paging import page_cursor, page_size, page_token
from services.labeling import actions, convert
from services.labeling.peers import Peers
from services.labeling.runner import PrelabelRunner
from services.labeling.store import Work

Context = grpc.aio.ServicerContext[Any, Any]


class LabelingApi(LabelingServiceServicer):
    """``inkwright.labeling.v1.LabelingService``."""

    def __init__(self, work: Work, peers: Peers, runner: PrelabelRunner) -> None:
        self._work = work
        self._peers = peers
        self._runner = runner

    async def GetPage(self, request: labeling_service_pb2.GetPageRequest, context: Context) -> page_pb2.Page:
        """See the proto."""
        return convert.page_to_proto(*await actions.get_page(self._work, self._peers, request.name))

    async def ListPages(self, request: labeling_service_pb2.ListPagesRequest, context: Context) -> labeling_service_pb2.ListPagesResponse:
        """See the proto."""
        wanted = convert.wanted_from_proto(request)
        page = await actions.list_pages(self._work, request.parent, wanted, size=page_size(request), after=page_cursor(request))
        return labeling_service_pb2.ListPagesResponse(
            pages=[convert.page_to_proto(one) for one in page.items], next_page_token=page_token(request, page.next_cursor)
        )

    async def ApplyOperations(self, request: labeling_service_pb2.ApplyOperationsRequest, context: Context) -> page_pb2.Page:
        """See the proto."""
        operations = [convert.operation_from_proto(operation) for operation in request.operations]
        applied = await actions.apply_operations(self._work, self._peers, request.name, operations, actor=_actor())
        return convert.page_to_proto(*applied)

    async def ListOperations(
        self, request: labeling_service_pb2.ListOperationsRequest, context: Context
    ) -> labeling_service_pb2.ListOperationsResponse:
        """See the proto."""
        size, cursor = page_size(request), page_cursor(request)
        after = int(cursor[0]) if cursor else request.after_sequence
        found = await actions.list_operations(self._work, request.parent, after_sequence=after, size=size + 1)
        return labeling_service_pb2.ListOperationsResponse(
            operations=[convert.logged_to_proto(logged) for logged in found[:size]],
            next_page_token=page_token(request, (found[size - 1].sequence,) if len(found) > size else None),
        )

    async def SubmitPage(self, request: labeling_service_pb2.SubmitPageRequest, context: Context) -> page_pb2.Page:
        """See the proto."""
        submitted = await actions.submit_page(self._work, self._peers, request.name, sequence=request.sequence, overwrite=request.overwrite)
        return convert.page_to_proto(*submitted)

    async def ReturnPage(self, request: labeling_service_pb2.ReturnPageRequest, context: Context) -> page_pb2.Page:
        """See the proto."""
        return convert.page_to_proto(*await actions.return_page(self._work, request.name, request.note))

    async def CreatePrelabel(self, request: labeling_service_pb2.CreatePrelabelRequest, context: Context) -> page_pb2.Prelabel:
        """See the proto."""
        prelabel = await actions.create_prelabel(
            self._work, self._peers, request.parent, model=request.prelabel.model, request_id=request.request_id
        )
        self._runner.wake()
        return convert.prelabel_to_proto(prelabel)

    async def GetPrelabel(self, request: labeling_service_pb2.GetPrelabelRequest, context: Context) -> page_pb2.Prelabel:
        """See the proto."""
        return convert.prelabel_to_proto(await actions.get_prelabel(self._work, request.name))

    async def ListPrelabels(
        self, request: labeling_service_pb2.ListPrelabelsRequest, context: Context
    ) -> labeling_service_pb2.ListPrelabelsResponse:
        """See the proto."""
        page = await actions.list_prelabels(self._work, request.parent, size=page_size(request), after=page_cursor(request))
        return labeling_service_pb2.ListPrelabelsResponse(
            prelabels=[convert.prelabel_to_proto(prelabel) for prelabel in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )


def _actor() -> str:
    caller = call_context.caller.get()
    assert caller is not None, "the interceptor lets nobody in without a name"
    return caller.actor
