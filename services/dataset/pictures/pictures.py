"""Thumbnails and tiles: out of the cache, or made once by a process of their own."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

from libs.runtime.errors import Internal, NotFound
from libs.runtime.object_store import ObjectStore
from services.dataset.domain import Dataset
from services.dataset.image import Image
from services.dataset.label_actions import CHUNK_BYTES, check_unchanged
from services.dataset.pictures.cache import CacheSize, PictureCache
from services.dataset.pictures.maker import PictureMaker
from services.dataset.pictures.pyramid import Pyramid, thumbnail_size
from services.dataset.stores import Stores

_TIMEOUT_SECONDS: Final = 60.0


class Pictures:
    """Two makers, so that a list's thumbnails do not wait behind the tiles of a large scan.

    Args:
        stores: opens the datasets' stores.
        cache: where pictures are kept.
    """

    def __init__(self, stores: Stores, cache: PictureCache) -> None:
        self._stores = stores
        self._cache = cache
        self._thumbnails = PictureMaker("thumbnails", timeout_seconds=_TIMEOUT_SECONDS)
        self._tiles = PictureMaker("tiles", timeout_seconds=_TIMEOUT_SECONDS)
        self._making: dict[Path, asyncio.Task[None]] = {}

    async def thumbnail(self, dataset: Dataset, image: Image, size_px: int) -> bytes:
        """A JPEG of the upright image; see ``pyramid.thumbnail_size`` for its size.

        Raises:
            NotFound: the file is gone.
            ImageChanged: the stored image is not the indexed one.
            ImageUndecodable, TooLarge: there is nothing to show; the message says why.
        """
        size = thumbnail_size(size_px)
        return await self._picture(self._thumbnails, dataset, image, str(size), "picture", {"size_px": size})

    async def tile(self, dataset: Dataset, image: Image, level: int, column: int, row: int) -> bytes:
        """A JPEG; see ``thumbnail`` for what else it raises.

        Raises:
            NotFound: the pyramid has no such tile.
        """
        pyramid = pyramid_of(dataset, image)
        if not pyramid.holds(level, column, row):
            name = f"{level}/{column}_{row}"
            raise NotFound(f"The pyramid of {image.key} has no tile {name}; ask for the pyramid to see its size.", key=image.key, tile=name)
        levels = pyramid.levels_with(level)
        kind = f"levels{levels[0]}"
        return await self._picture(self._tiles, dataset, image, kind, f"{level}/{column}_{row}", {"levels": levels})

    async def cache_size(self, dataset: Dataset) -> CacheSize:
        """What the dataset's pictures take up."""
        return await asyncio.to_thread(self._cache.size, dataset.uid)

    async def forget(self, dataset_uid: str, image_id: str = "") -> None:
        """Remove what was made of a dataset, or of one of its images."""
        await asyncio.to_thread(self._cache.forget, dataset_uid, image_id)

    async def close(self) -> None:
        """Give up what is being made."""
        for task in self._making.values():
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)
        await asyncio.gather(self._thumbnails.close(), self._tiles.close())

    async def _picture(self, maker: PictureMaker, dataset: Dataset, image: Image, kind: str, piece: str, order: Mapping[str, Any]) -> bytes:
        path = self._cache.path(dataset.uid, image.image_id, image.store_etag, kind)
        # A second time where the file is evicted or found damaged in between.
        for _ in range(2):
            if (data := await asyncio.to_thread(self._cache.read, path, piece)) is not None:
                return data
            if path not in self._making:
                self._making[path] = asyncio.create_task(self._make(maker, dataset, image, path, order), name=f"picture-{image.image_id}")
                self._making[path].add_done_callback(lambda task: self._made(path, task))
            # Whoever asked first may leave: the others still wait for it.
            await asyncio.shield(self._making[path])
        data = await asyncio.to_thread(self._cache.read, path, piece)
        if data is None:
            raise Internal(f"The picture {path.name} of {image.key} is gone as soon as it is made.")
        return data

    def _made(self, path: Path, task: asyncio.Task[None]) -> None:
        del self._making[path]
        if not task.cancelled():
            # Looked at, for the case that nobody waits any more.
            task.exception()

    async def _make(self, maker: PictureMaker, dataset: Dataset, image: Image, path: Path, order: Mapping[str, Any]) -> None:
        store = await self._stores.open(dataset.place)
        self._cache.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._cache.folder, prefix=".source-") as source:
            await _fetch(store, image, source)
            await maker.make(image.key, Path(source.name), path, order)
        await asyncio.to_thread(self._cache.added, path)


def pyramid_of(dataset: Dataset, image: Image) -> Pyramid:
    """Of the indexed image.

    Raises:
        NotFound: its size is not known, as it could not be read.
    """
    if not image.width_px or not image.height_px:
        reasons = " ".join(finding.message for finding in image.image_findings)
        raise NotFound(f"{image.key} has no tiles: {reasons}", name=dataset.image_name(image.image_id), key=image.key)
    return Pyramid(image.width_px, image.height_px)


async def _fetch(store: ObjectStore, image: Image, file: IO[bytes]) -> None:
    await check_unchanged(store, image, image.store_etag)
    async for piece in store.read_stream(image.key, chunk_bytes=CHUNK_BYTES):
        await asyncio.to_thread(file.write, piece)
    await asyncio.to_thread(file.flush)
    await check_unchanged(store, image, image.store_etag)
