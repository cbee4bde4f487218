"""Bundles over plain HTTP, out and in."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.intake import limited_chunks
from gateway.routes import Route
from gateway.transcode.call import Peers, method_named
from gateway.transcode.openapi import ERROR_RESPONSE, MANAGEMENT_SECURITY, path_parameters
from gateway.transcode.routes import printed_json
from gateway.transcode.templates import compile_template
from inkwright.common.v1 import permission_pb2
from inkwright.trainer.v1 import trainer_service_pb2

PIECE_BYTES = 1024 * 1024
"""Of an upload, to the trainer."""

BUNDLE_DOWNLOAD = compile_template("/v1/{name=projects/*/models/*}:bundle")
BUNDLE_UPLOAD = compile_template("/v1/{name=projects/*/models/*}:import")

_READ_BUNDLE = method_named(trainer_service_pb2.DESCRIPTOR, "ReadBundle")
_IMPORT_MODEL = method_named(trainer_service_pb2.DESCRIPTOR, "ImportModel")


class Files:
    """The endpoints."""

    def __init__(self, peers: Peers, *, bundle_max_bytes: int) -> None:
        self._peers = peers
        self._bundle_max_bytes = bundle_max_bytes

    def routes(self) -> list[Route]:
        """What ``Routes`` wants."""
        return [
            Route("GET", BUNDLE_DOWNLOAD, permission_pb2.VIEW, self.download),
            Route("POST", BUNDLE_UPLOAD, permission_pb2.TRAIN, self.upload),
        ]

    async def download(self, _request: Request, captured: dict[str, str]) -> Response:
        """A model's bundle file."""
        chunks = self._chunks(_READ_BUNDLE, trainer_service_pb2.ReadBundleRequest(model=captured["name"]))
        first = await anext(chunks, b"")
        model_id = captured["name"].rpartition("/")[2]
        headers = {"Content-Disposition": f'attachment; filename="{model_id}.bundle"', "X-Content-Type-Options": "nosniff"}
        return StreamingResponse(joined(first, chunks), media_type="application/octet-stream", headers=headers)

    async def upload(self, request: Request, captured: dict[str, str]) -> Response:
        """A bundle file becomes a model of the path's name."""

        async def pieces() -> AsyncIterator[trainer_service_pb2.ImportModelRequest]:
            yield trainer_service_pb2.ImportModelRequest(name=captured["name"])
            async for chunk in limited_chunks(request, self._bundle_max_bytes):
                for start in range(0, len(chunk), PIECE_BYTES):
                    yield trainer_service_pb2.ImportModelRequest(chunk=chunk[start : start + PIECE_BYTES])
            yield trainer_service_pb2.ImportModelRequest(complete=True)

        model = await self._peers.upload(_IMPORT_MODEL, pieces())
        return Response(printed_json(model), media_type="application/json")

    async def _chunks(self, method: Any, request: Any) -> AsyncIterator[bytes]:
        async for reply in self._peers.stream(method, request):
            yield reply.chunk


async def joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A stream whose first piece was taken already."""
    # The first piece was awaited before the headers went out, so that a fault still becomes a status.
    yield first
    async for chunk in rest:
        yield chunk


def binary(description: str, *media_types: str) -> dict[str, Any]:
    """An OpenAPI response that is a file."""
    return {"description": description, "content": {kind: {} for kind in media_types}}


def openapi_paths() -> dict[str, dict[str, Any]]:
    """The OpenAPI path items of these routes."""
    download, model_names = BUNDLE_DOWNLOAD.documented()
    upload, _ = BUNDLE_UPLOAD.documented()
    common = {"tags": ["Files"], "security": MANAGEMENT_SECURITY}
    return {
        download: {
            "get": common
            | {
                "operationId": "DownloadBundle",
                "description": "The model's bundle file.",
                "x-inkwright-permission": "VIEW",
                "parameters": path_parameters(model_names),
                "responses": {"200": binary("The file.", "application/octet-stream"), "default": ERROR_RESPONSE},
            }
        },
        upload: {
            "post": common
            | {
                "operationId": "ImportBundle",
                "description": "Registers the bundle file in the body as a model of this name.",
                "x-inkwright-permission": "TRAIN",
                "parameters": path_parameters(model_names),
                "requestBody": {"required": True, "content": {"application/octet-stream": {}}},
                "responses": {
                    "200": {
                        "description": "The model.",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/trainer.v1.Model"}}},
                    },
                    "default": ERROR_RESPONSE,
                },
            }
        },
    }
