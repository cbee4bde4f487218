# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods for pictures that people look at."""

from typing import Any

import grpc

from inkwright.dataset.v1 import picture_pb2
from libs.runtime.names import DATASET, IMAGE
from services.dataset import actions
from services.dataset.domain import Dataset
from services.dataset.image import Image
from services.dataset.pictures.pictures import Pictures, pyramid_of
from services.dataset.pictures.pyramid import TILE_PX
from services.dataset.store import Work

Context = grpc.aio.ServicerContext[Any, Any]


class PictureMethods:
    """A part of ``DatasetApi``."""

    def __init__(self, work: Work, pictures: Pictures) -> None:
        self._of = work
        self._pictures = pictures

    async def ReadThumbnail(self, request: picture_pb2.ReadThumbnailRequest, context: Context) -> picture_pb2.Picture:
        """See the proto."""
        return picture_pb2.Picture(data=await self._pictures.thumbnail(*await self._image(request.name), request.size_px))

    async def GetTilePyramid(self, request: picture_pb2.GetTilePyramidRequest, context: Context) -> picture_pb2.TilePyramid:
        """See the proto."""
        pyramid = pyramid_of(*await self._image(request.name))
        return picture_pb2.TilePyramid(
            name=request.name,
            width_px=pyramid.width_px,
            height_px=pyramid.height_px,
            tile_size_px=TILE_PX,
            num_levels=pyramid.num_levels,
        )

    async def ReadTile(self, request: picture_pb2.ReadTileRequest, context: Context) -> picture_pb2.Picture:
        """See the proto."""
        found = await self._image(request.name)
        return picture_pb2.Picture(data=await self._pictures.tile(*found, request.level, request.column, request.row))

    async def GetPictureCache(self, request: picture_pb2.GetPictureCacheRequest, context: Context) -> picture_pb2.PictureCache:
        """See the proto."""
        size = await self._pictures.cache_size(await actions.get_dataset(self._of, request.name))
        return picture_pb2.PictureCache(
            name=request.name,
            num_images=size.num_images,
            size_bytes=size.size_bytes,
            total_size_bytes=size.total_size_bytes,
            max_size_bytes=size.max_size_bytes,
        )

    async def _image(self, name: str) -> tuple[Dataset, Image]:
        ids = IMAGE.parse(name)
        return await actions.get_image(self._of, DATASET.format(project=ids["project"], dataset=ids["dataset"]), ids["image"])
