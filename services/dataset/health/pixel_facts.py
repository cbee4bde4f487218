"""A look at the files of images: traits, hash, content. One image's pixels are in memory at a time."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.image_traits import ImageTraits, read_traits
from libs.ocrkit.near_duplicates import decode_small, dhash
from libs.runtime.errors import Conflict, ImageUndecodable, InvalidInput, NotFound
from libs.runtime.object_store import ObjectStore
from services.dataset.health.report import Code, PixelFacts
from services.dataset.image import Image

AT_ONCE: Final = 8
_BUNDLE_BYTES: Final = 32 * 1024 * 1024
"""Files that are in memory together; a larger one is alone."""


async def look_at(store: ObjectStore, images: Sequence[Image]) -> dict[str, PixelFacts]:
    """By image id; an image that went away is left out.

    Raises:
        Fault, OSError: the store cannot be read.
    """
    found: dict[str, PixelFacts] = {}
    for bundle in _bundles(images):
        files = await asyncio.gather(*(_read(store, image) for image in bundle))
        for image, data in zip(bundle, files, strict=True):
            if isinstance(data, PixelFacts):
                found[image.image_id] = data
            elif data is not None:
                found[image.image_id] = await asyncio.to_thread(pixel_facts, data, image.store_etag)
    return found


def pixel_facts(data: bytes, store_etag: str) -> PixelFacts:
    """From a whole file."""
    try:
        traits, small_HW3 = read_traits(data), decode_small(data)
    except (ImageUndecodable, InvalidInput) as fault:
        return PixelFacts(store_etag, problem=fault.message)
    content = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    return PixelFacts(store_etag, dhash(small_HW3), content, _border(small_HW3), traits.camera, tuple(_codes(traits)))


async def _read(store: ObjectStore, image: Image) -> bytes | PixelFacts | None:
    try:
        return await store.read(image.key)
    except NotFound:
        return None
    except (Conflict, InvalidInput, OSError) as error:
        # Without the tag it is not kept: the next survey tries again.
        return PixelFacts("", problem=str(error))


def _bundles(images: Sequence[Image]) -> Iterator[list[Image]]:
    bundle: list[Image] = []
    num_bytes = 0
    for image in images:
        if bundle and (len(bundle) == AT_ONCE or num_bytes + image.size_bytes > _BUNDLE_BYTES):
            yield bundle
            bundle, num_bytes = [], 0
        bundle.append(image)
        num_bytes += image.size_bytes
    if bundle:
        yield bundle


def _codes(traits: ImageTraits) -> Iterator[Code]:
    for code, is_so in (
        (Code.CMYK, traits.is_cmyk),
        (Code.SIXTEEN_BIT, traits.is_deep),
        (Code.ANIMATED, traits.is_animated),
        (Code.EXIF_TURNED, traits.is_turned),
    ):
        if is_so:
            yield code


def _border(image_HW3: NDArray[np.uint8]) -> int:
    """The median brightness of the outermost tenth."""
    gray_HW = cv2.cvtColor(cv2.resize(image_HW3, (20, 20), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    return int(np.median(np.concatenate([gray_HW[:2].ravel(), gray_HW[-2:].ravel(), gray_HW[:, :2].ravel(), gray_HW[:, -2:].ravel()])))
