"""Images over plain HTTP: as they are stored, as thumbnails, and as the tiles of a Deep Zoom pyramid. No browser talks to a store."""

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.console.files import binary, joined
from gateway.rest_faults import fault_response
from gateway.routes import Route
from gateway.transcode.call import Peers, method_named
from gateway.transcode.openapi import ERROR_RESPONSE, MANAGEMENT_SECURITY, path_parameters
from gateway.transcode.templates import compile_template
from inkwright.common.v1 import permission_pb2
from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, picture_pb2
from libs.runtime.errors import InvalidInput, NotFound

_IMAGE: Final = "/v1/{name=projects/*/datasets/*/images/*}"
IMAGE_BYTES: Final = compile_template(f"{_IMAGE}:bytes")
THUMBNAIL: Final = compile_template(f"{_IMAGE}/thumbnail")
DEEP_ZOOM: Final = compile_template(f"{_IMAGE}/tiles.json")
TILE: Final = compile_template(f"{_IMAGE}/tiles/{{level}}/{{tile}}")

_GET_IMAGE, _READ_IMAGE, _READ_THUMBNAIL, _GET_PYRAMID, _READ_TILE = (
    method_named(dataset_service_pb2.DESCRIPTOR, name) for name in ("GetImage", "ReadImage", "ReadThumbnail", "GetTilePyramid", "ReadTile")
)
_MAGIC: Final = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"BM", "image/bmp"))
_RANGE: Final = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")
_TILE_NAME: Final = re.compile(r"(\d{1,6})_(\d{1,6})\.jpg")
_MAGIC_BYTES: Final = 8
_HTTP_PARTIAL, _HTTP_UNSATISFIABLE = 206, 416


class Pictures:
    """The endpoints."""

    def __init__(self, peers: Peers, *, deadline_seconds: float) -> None:
        self._peers = peers
        self._deadline_seconds = deadline_seconds

    def routes(self) -> list[Route]:
        """What ``Routes`` wants."""
        return [
            Route("GET", IMAGE_BYTES, permission_pb2.VIEW, self.image),
            Route("GET", THUMBNAIL, permission_pb2.VIEW, self.thumbnail),
            Route("GET", DEEP_ZOOM, permission_pb2.VIEW, self.deep_zoom),
            Route("GET", TILE, permission_pb2.VIEW, self.tile),
        ]

    async def image(self, request: Request, captured: dict[str, str]) -> Response:
        """An image as it is stored, or the range of it that is asked for; 304 when the caller has it already.

        Raises:
            Fault: CONFLICT when the stored image is not the indexed one any more.
        """
        image = await self._image(captured["name"])
        # The store's tag may be quoted already; inside ours no quote may stand.
        headers = _headers(image.store_etag.replace(chr(34), "")) | {"Accept-Ranges": "bytes"}
        if _is_known(request, headers):
            return Response(status_code=304, headers=headers)
        wanted = _wanted_range(request, headers["ETag"], image.size_bytes)
        if wanted is not None and not wanted:
            unsatisfiable = InvalidInput(f"The image has {image.size_bytes} bytes; ask for a range inside.", size_bytes=image.size_bytes)
            response = fault_response(unsatisfiable)
            response.status_code = _HTTP_UNSATISFIABLE
            response.headers["Content-Range"] = f"bytes */{image.size_bytes}"
            return response
        if wanted is None:
            chunks = self._chunks(image, 0, 0)
            first = await anext(chunks, b"")
            return StreamingResponse(joined(first, chunks), media_type=_media_type(first), headers=headers)
        chunks = self._chunks(image, wanted.start, len(wanted))
        first = await anext(chunks, b"")
        magic = first if wanted.start == 0 else await anext(self._chunks(image, 0, _MAGIC_BYTES), b"")
        headers |= {"Content-Range": f"bytes {wanted.start}-{wanted.stop - 1}/{image.size_bytes}", "Content-Length": str(len(wanted))}
        return StreamingResponse(joined(first, chunks), _HTTP_PARTIAL, media_type=_media_type(magic), headers=headers)

    async def thumbnail(self, request: Request, captured: dict[str, str]) -> Response:
        """A small JPEG; ``?size=`` is its longer side."""
        size = request.query_params.get("size", "0")
        if not size.isascii() or not size.isdigit() or len(size) > 5:
            raise InvalidInput(f"{size[:20]!r} is no size; give the pixels of the longer side, for example ?size=256.", field="size")
        wanted = picture_pb2.ReadThumbnailRequest(name=captured["name"], size_px=int(size))
        return await self._picture(request, captured["name"], _READ_THUMBNAIL, wanted)

    async def deep_zoom(self, _request: Request, captured: dict[str, str]) -> Response:
        """The pyramid as OpenSeadragon and other viewers of Deep Zoom read it."""
        asked = picture_pb2.GetTilePyramidRequest(name=captured["name"])
        pyramid = await self._peers.call(_GET_PYRAMID, asked, deadline_seconds=self._deadline_seconds)
        assert isinstance(pyramid, picture_pb2.TilePyramid)
        described = {
            "xmlns": "http://schemas.microsoft.com/deepzoom/2008",
            "Url": f"/v1/{pyramid.name}/tiles/",
            "Format": "jpg",
            "Overlap": "0",
            "TileSize": str(pyramid.tile_size_px),
            "Size": {"Width": str(pyramid.width_px), "Height": str(pyramid.height_px)},
        }
        return Response(orjson.dumps({"Image": described}), media_type="application/json", headers={"Cache-Control": "private, no-cache"})

    async def tile(self, request: Request, captured: dict[str, str]) -> Response:
        """One tile, ``{column}_{row}.jpg``."""
        place = _TILE_NAME.fullmatch(captured["tile"])
        level = captured["level"]
        if place is None or not level.isascii() or not level.isdigit() or len(level) > 2:
            raise NotFound(
                f"There is no tile {level[:20]}/{captured['tile'][:20]}; tiles are named like 11/2_3.jpg.", tile=captured["tile"][:20]
            )
        wanted = picture_pb2.ReadTileRequest(name=captured["name"], level=int(level), column=int(place[1]), row=int(place[2]))
        return await self._picture(request, captured["name"], _READ_TILE, wanted)

    async def _image(self, name: str) -> dataset_pb2.Image:
        reply = await self._peers.call(_GET_IMAGE, dataset_service_pb2.GetImageRequest(name=name), deadline_seconds=self._deadline_seconds)
        assert isinstance(reply, dataset_pb2.Image)
        return reply

    async def _picture(self, request: Request, name: str, method: Any, wanted: Message) -> Response:
        # Made of the stored image and nothing else, so its tag says whether the caller's copy is still right.
        image = await self._image(name)
        headers = _headers(hashlib.sha256(image.store_etag.encode() + wanted.SerializeToString(deterministic=True)).hexdigest()[:32])
        if _is_known(request, headers):
            return Response(status_code=304, headers=headers)
        picture = await self._peers.call(method, wanted, deadline_seconds=self._deadline_seconds)
        assert isinstance(picture, picture_pb2.Picture)
        return Response(picture.data, media_type="image/jpeg", headers=headers)

    async def _chunks(self, image: dataset_pb2.Image, start: int, num_bytes: int) -> AsyncIterator[bytes]:
        wanted = dataset_service_pb2.ReadImageRequest(name=image.name, store_etag=image.store_etag, start_byte=start, num_bytes=num_bytes)
        async for reply in self._peers.stream(_READ_IMAGE, wanted):
            assert isinstance(reply, dataset_service_pb2.ReadImageResponse)
            yield reply.chunk


def _headers(tag: str) -> dict[str, str]:
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}


def _is_known(request: Request, headers: dict[str, str]) -> bool:
    given = request.headers.get("if-none-match", "").split(",")
    return headers["ETag"] in [tag.strip().removeprefix("W/") for tag in given]


def _wanted_range(request: Request, tag: str, size_bytes: int) -> range | None:
    """The bytes that are asked for: None for all, an empty range where there are none. Several ranges at once are answered with all."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if asked is None or not any(asked.groups()) or request.headers.get("if-range", tag) != tag:
        return None
    if asked[1] is None:
        return range(max(0, size_bytes - int(asked[2])), size_bytes)
    last = int(asked[2]) if asked[2] is not None else size_bytes - 1
    if asked[2] is not None and last < int(asked[1]):
        # By RFC 9110 no range at all.
        return None
    return range(int(asked[1]), min(last + 1, size_bytes))


def _media_type(first: bytes) -> str:
    return next((kind for magic, kind in _MAGIC if first.startswith(magic)), "application/octet-stream")


def openapi_paths() -> dict[str, dict[str, Any]]:
    """The OpenAPI path items of these routes."""
    stored = [kind for _, kind in _MAGIC]
    image = "The image as it is stored, with an ETag; a single Range is answered with that part of it."
    thumbnail = "The upright image as a JPEG whose longer side is `size` (64, 128, 256, 512 or 1024; others are rounded up; default 256)."
    tile = "One tile of the pyramid that `tiles.json` describes, named `{column}_{row}.jpg`."
    size = {"name": "size", "in": "query", "required": False, "schema": {"type": "integer"}}
    partial = {"206": binary("The range.", *stored), "416": {"description": "No byte of the image is in the range."}}
    base, names = compile_template(_IMAGE).documented()
    numbers = path_parameters((*names, "level", "tile"))
    return {
        IMAGE_BYTES.documented()[0]: _item("ReadImageBytes", image, path_parameters(names), stored, partial),
        f"{base}/thumbnail": _item("ReadImageThumbnail", thumbnail, [*path_parameters(names), size], ["image/jpeg"], {}),
        f"{base}/tiles.json": _item(
            "ReadDeepZoom", "The tiles as viewers of Deep Zoom read it.", path_parameters(names), ["application/json"], {}
        ),
        f"{base}/tiles/{{level}}/{{tile}}": _item("ReadImageTile", tile, numbers, ["image/jpeg"], {}),
    }


def _item(operation: str, description: str, parameters: list[Any], kinds: list[str], more: dict[str, Any]) -> dict[str, Any]:
    answers = {"200": binary("The file.", *kinds), "304": {"description": "Unchanged since the tag in If-None-Match."}}
    return {
        "get": {
            "tags": ["Files"],
            "security": MANAGEMENT_SECURITY,
            "operationId": operation,
            "description": description,
            "x-inkwright-permission": "VIEW",
            "parameters": parameters,
            "responses": answers | more | {"default": ERROR_RESPONSE},
        }
    }
