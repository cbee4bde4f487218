# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods about labels that come in and go out: read the request, call one action, convert."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from inkwright.dataset.v1 import transfer_pb2
from libs.runtime.errors import InvalidInput
from libs.runtime.paging import page_cursor, page_size, page_token
from libs.runtime.uploads import whole_upload
from services.dataset.store import Work
from services.dataset.stores import Stores
from services.dataset.transfer import actions as transfer_actions
from services.dataset.transfer import convert as transfer_convert
from services.dataset.transfer.label_export import LabelExport
from services.dataset.transfer.label_importer import LabelImporter

Context = grpc.aio.ServicerContext[Any, Any]


class TransferMethods:
    """Those of ``inkwright.dataset.v1.DatasetService`` that import and export labels."""

    _work: Work
    _stores: Stores
    _importer: LabelImporter

    async def CreateLabelImport(self, request: transfer_pb2.CreateLabelImportRequest, context: Context) -> transfer_pb2.LabelImport:
        """See the proto."""
        wanted = transfer_convert.import_from_proto(request.label_import)
        created = await transfer_actions.create_label_import(self._work, request.parent, wanted, request_id=request.request_id)
        self._importer.wake()
        return transfer_convert.import_to_proto(*created)

    async def UploadLabels(
        self, request_iterator: AsyncIterator[transfer_pb2.UploadLabelsRequest], context: Context
    ) -> transfer_pb2.LabelImport:
        """See the proto."""
        first = await anext(aiter(request_iterator), None)
        if first is None or not first.HasField("create"):
            raise InvalidInput("The first message says what is coming; the others bring it.", field="create")
        create = first.create
        wanted = transfer_convert.import_from_proto(create.label_import)
        uploaded = await transfer_actions.upload_labels(
            self._work, create.parent, wanted, whole_upload(first, request_iterator), request_id=create.request_id
        )
        self._importer.wake()
        return transfer_convert.import_to_proto(*uploaded)

    async def GetLabelImport(self, request: transfer_pb2.GetLabelImportRequest, context: Context) -> transfer_pb2.LabelImport:
        """See the proto."""
        return transfer_convert.import_to_proto(*await transfer_actions.get_label_import(self._work, request.name))

    async def ListLabelImports(
        self, request: transfer_pb2.ListLabelImportsRequest, context: Context
    ) -> transfer_pb2.ListLabelImportsResponse:
        """See the proto."""
        dataset, page = await transfer_actions.list_label_imports(
            self._work, request.parent, size=page_size(request), after=page_cursor(request)
        )
        return transfer_pb2.ListLabelImportsResponse(
            label_imports=[transfer_convert.import_to_proto(dataset, one) for one in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )

    async def ListLabelImportRows(
        self, request: transfer_pb2.ListLabelImportRowsRequest, context: Context
    ) -> transfer_pb2.ListLabelImportRowsResponse:
        """See the proto."""
        dataset, page = await transfer_actions.list_label_import_rows(
            self._work,
            request.parent,
            size=page_size(request),
            after=page_cursor(request),
            outcome=transfer_convert.outcome_from_proto(request.outcome),
        )
        return transfer_pb2.ListLabelImportRowsResponse(
            rows=[transfer_convert.import_row_to_proto(dataset, row) for row in page.items],
            next_page_token=page_token(request, page.next_cursor),
        )

    async def TerminateLabelImport(self, request: transfer_pb2.TerminateLabelImportRequest, context: Context) -> transfer_pb2.LabelImport:
        """See the proto."""
        return transfer_convert.import_to_proto(*await transfer_actions.terminate_label_import(self._work, request.name))

    async def ExportLabels(
        self, request: transfer_pb2.ExportLabelsRequest, context: Context
    ) -> AsyncIterator[transfer_pb2.ExportLabelsResponse]:
        """See the proto."""
        export = await LabelExport.open(self._work, self._stores, request.name, request.format, with_images=request.with_images)
        async for chunk in export.chunks():
            yield transfer_pb2.ExportLabelsResponse(chunk=chunk)
        yield transfer_pb2.ExportLabelsResponse(report=transfer_convert.export_report_to_proto(export.report))
