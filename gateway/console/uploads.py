"""Chunks of uploads over plain HTTP: PATCH with the offset in a header, in the manner of tus."""

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.intake import limited_chunks
from gateway.routes import Route
from gateway.transcode.call import Peers, method_named
from gateway.transcode.openapi import ERROR_RESPONSE, MANAGEMENT_SECURITY, path_parameters
from gateway.transcode.routes import printed_json
from gateway.transcode.templates import compile_template
from inkwright.common.v1 import permission_pb2
from inkwright.dataset.v1 import dataset_service_pb2, upload_pb2
from libs.runtime.errors import InvalidInput

CHUNK_MAX_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
"""Of a chunk, to the dataset service."""
OFFSET_HEADER = "Upload-Offset"

CHUNK = compile_template("/v1/{name=projects/*/datasets/*/uploads/*}:bytes")

_UPLOAD_CHUNK = method_named(dataset_service_pb2.DESCRIPTOR, "UploadChunk")


class Uploads:
    """The endpoint. It holds no more than a piece, and no credentials of a store."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def routes(self) -> list[Route]:
        """What ``Routes`` wants."""
        return [Route("PATCH", CHUNK, permission_pb2.TRAIN, self.chunk)]

    async def chunk(self, request: Request, captured: dict[str, str]) -> Response:
        """The next bytes of an upload; answers with the upload, whose ``receivedBytes`` are safe.

        Raises:
            InvalidInput: the header is missing or no number.
            TooLarge: more than ``CHUNK_MAX_BYTES``.
        """
        offset = request.headers.get(OFFSET_HEADER, "")
        if not (offset.isascii() and offset.isdigit() and len(offset) < 19):
            raise InvalidInput(f"Give the offset of the first byte in the header {OFFSET_HEADER}, for example 0.", header=OFFSET_HEADER)

        async def pieces() -> AsyncIterator[upload_pb2.UploadChunkRequest]:
            yield upload_pb2.UploadChunkRequest(name=captured["name"], offset_bytes=int(offset))
            async for chunk in limited_chunks(request, CHUNK_MAX_BYTES):
                for start in range(0, len(chunk), PIECE_BYTES):
                    yield upload_pb2.UploadChunkRequest(data=chunk[start : start + PIECE_BYTES])

        upload = await self._peers.upload(_UPLOAD_CHUNK, pieces())
        return Response(printed_json(upload), media_type="application/json")


def openapi_paths() -> dict[str, dict[str, Any]]:
    """The OpenAPI path item of this route."""
    path, names = CHUNK.documented()
    header = {"name": OFFSET_HEADER, "in": "header", "required": True, "schema": {"type": "integer", "format": "int64", "minimum": 0}}
    return {
        path: {
            "patch": {
                "tags": ["Files"],
                "security": MANAGEMENT_SECURITY,
                "operationId": "SendUploadChunk",
                "description": "The next bytes of an upload, at most 8 MiB. CONFLICT names the offset that is wanted.",
                "x-inkwright-permission": "TRAIN",
                "parameters": [*path_parameters(names), header],
                "requestBody": {"required": True, "content": {"application/offset+octet-stream": {}}},
                "responses": {
                    "200": {
                        "description": "The upload.",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/dataset.v1.Upload"}}},
                    },
                    "default": ERROR_RESPONSE,
                },
            }
        }
    }
