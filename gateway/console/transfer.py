"""Labels over plain HTTP: label files and ZIPs of them in, ZIPs in any format out."""

from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.console.files import PIECE_BYTES, binary, joined
from gateway.intake import limited_chunks
from gateway.routes import Route
from gateway.transcode.call import Peers, method_named
from gateway.transcode.openapi import ERROR_RESPONSE, MANAGEMENT_SECURITY, path_parameters
from gateway.transcode.routes import printed_json
from gateway.transcode.templates import compile_template
from inkwright.common.v1 import permission_pb2
from inkwright.dataset.v1 import dataset_service_pb2, transfer_pb2
from libs.runtime.errors import InvalidInput
from libs.runtime.uploads import MAX_LABELS_BYTES

UPLOAD = compile_template("/v1/{parent=projects/*/datasets/*}/labelImports:upload")
EXPORT = compile_template("/v1/{name=projects/*/datasets/*}:exportLabels")
EXPORT_VERSION = compile_template("/v1/{name=projects/*/datasets/*/versions/*}:exportLabels")

_UPLOAD_LABELS = method_named(dataset_service_pb2.DESCRIPTOR, "UploadLabels")
_EXPORT_LABELS = method_named(dataset_service_pb2.DESCRIPTOR, "ExportLabels")
_SWITCHES: Final = {"": False, "false": False, "true": True}


class Transfer:
    """The endpoints."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def routes(self) -> list[Route]:
        """What ``Routes`` wants."""
        return [
            Route("POST", UPLOAD, permission_pb2.TRAIN, self.upload),
            Route("GET", EXPORT, permission_pb2.VIEW, self.export),
            Route("GET", EXPORT_VERSION, permission_pb2.VIEW, self.export),
        ]

    async def upload(self, request: Request, captured: dict[str, str]) -> Response:
        """The body is a label file or a ZIP of them; the query says how it is to be imported."""
        label_import = transfer_pb2.LabelImport(
            format=request.query_params.get("format", ""),
            file_name=request.query_params.get("fileName", ""),
            overwrite=_switch(request, "overwrite"),
            dry_run=_switch(request, "dryRun"),
        )
        request_id = request.query_params.get("requestId", "")
        create = transfer_pb2.CreateLabelImportRequest(parent=captured["parent"], label_import=label_import, request_id=request_id)

        async def pieces() -> AsyncIterator[transfer_pb2.UploadLabelsRequest]:
            yield transfer_pb2.UploadLabelsRequest(create=create)
            async for chunk in limited_chunks(request, MAX_LABELS_BYTES):
                for start in range(0, len(chunk), PIECE_BYTES):
                    yield transfer_pb2.UploadLabelsRequest(chunk=chunk[start : start + PIECE_BYTES])
            yield transfer_pb2.UploadLabelsRequest(complete=True)

        created = await self._peers.upload(_UPLOAD_LABELS, pieces())
        return Response(printed_json(created), media_type="application/json")

    async def export(self, request: Request, captured: dict[str, str]) -> Response:
        """A ZIP of the labels, written while it is sent."""
        name, format_key = captured["name"], request.query_params.get("format", "")
        wanted = transfer_pb2.ExportLabelsRequest(name=name, format=format_key, with_images=_switch(request, "withImages"))
        chunks = self._chunks(wanted)
        first = await anext(chunks, b"")
        headers = {
            "Content-Disposition": f'attachment; filename="{name.rpartition("/")[2]}-{format_key}.zip"',
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(joined(first, chunks), media_type="application/zip", headers=headers)

    async def _chunks(self, request: transfer_pb2.ExportLabelsRequest) -> AsyncIterator[bytes]:
        async for reply in self._peers.stream(_EXPORT_LABELS, request):
            # The last reply holds the report, which lies in the ZIP as well.
            if reply.chunk:
                yield reply.chunk


def _switch(request: Request, name: str) -> bool:
    said = request.query_params.get(name, "")
    if said not in _SWITCHES:
        raise InvalidInput(f"{name} is true or false, not {said[:50]!r}.", field=name)
    return _SWITCHES[said]


def openapi_paths() -> dict[str, dict[str, Any]]:
    """The OpenAPI path items of these routes."""
    upload, dataset_names = UPLOAD.documented()
    common = {"tags": ["Files"], "security": MANAGEMENT_SECURITY}
    paths: dict[str, dict[str, Any]] = {
        upload: {
            "post": common
            | {
                "operationId": "UploadLabelFile",
                "description": "Imports the label file, or ZIP of label files, in the body.",
                "x-inkwright-permission": "TRAIN",
                "parameters": [
                    *path_parameters(dataset_names),
                    _query("fileName", "The file's own name, e.g. Label.txt.", required=True),
                    _query("format", "One of the label formats; told by the files when left out."),
                    _query("overwrite", "Replace labels that are there; the replaced files are kept.", kind="boolean"),
                    _query("dryRun", "Tell what would be done, and write nothing.", kind="boolean"),
                    _query("requestId", "A repeated call with the same one returns the first call's import."),
                ],
                "requestBody": {"required": True, "content": {"application/octet-stream": {}}},
                "responses": {
                    "200": {
                        "description": "The import, which goes on in the background.",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/dataset.v1.LabelImport"}}},
                    },
                    "default": ERROR_RESPONSE,
                },
            }
        }
    }
    for template, operation in ((EXPORT, "DownloadLabels"), (EXPORT_VERSION, "DownloadVersionLabels")):
        path, names = template.documented()
        paths[path] = {
            "get": common
            | {
                "operationId": operation,
                "description": "The labels as a ZIP, with a report of what the format has no field for.",
                "x-inkwright-permission": "VIEW",
                "parameters": [
                    *path_parameters(names),
                    _query("format", "One of the label formats.", required=True),
                    _query("withImages", "Images come along.", kind="boolean"),
                ],
                "responses": {"200": binary("The ZIP.", "application/zip"), "default": ERROR_RESPONSE},
            }
        }
    return paths


def _query(name: str, description: str, *, kind: str = "string", required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": {"type": kind}}
