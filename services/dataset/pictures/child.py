"""The process that decodes images for people: ``python -m services.dataset.pictures.child``.

Orders come as JSON lines, one answer a line: ``{"done": true}``, ``{"fault": reason, "message": …}``
or ``{"errno": …, "message": …}``. Files that lie about
themselves are decoded here, where neither a crash of a decoder nor the memory it takes reaches the service.
"""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray

from libs.ocrkit.image_io import check_num_pixels, decode_image, read_header
from libs.runtime.errors import Fault, ImageUndecodable
from services.dataset.pictures.pack import write_pack
from services.dataset.pictures.pyramid import TILE_PX, Pyramid

MAX_MEMORY_BYTES: Final = 4 * 1024**3
"""Of addresses, which the largest allowed image needs half of."""
_QUALITY: Final = (cv2.IMWRITE_JPEG_QUALITY, 85)
_ENCODERS: Final = 2


def make_thumbnail(data: bytes, size_px: int) -> dict[str, bytes]:
    """The piece ``picture``: a JPEG whose longer side is ``size_px``, or the image's where that is shorter."""
    header = check_num_pixels(read_header(data))
    longer = max(header.width_px, header.height_px)
    width, height = (max(1, round(side * min(1.0, size_px / longer))) for side in (header.width_px, header.height_px))
    pixels = decode_image(data, reduced_by=_reduced_by(header.format, longer // size_px))
    return {"picture": _jpeg(_resized(pixels, width, height))}


def cut_tiles(data: bytes, first: int, last: int) -> dict[str, bytes]:
    """JPEGs ``level/column_row`` of these levels."""
    header = check_num_pixels(read_header(data))
    pyramid = Pyramid(header.width_px, header.height_px)
    pixels = decode_image(data, reduced_by=_reduced_by(header.format, 1 << (pyramid.num_levels - 1 - last)))
    pieces: dict[str, bytes] = {}
    with ThreadPoolExecutor(_ENCODERS) as encoders:
        for level in range(last, first - 1, -1):
            pixels = _resized(pixels, *pyramid.level_size(level))
            rows, columns = (range(-(-side // TILE_PX)) for side in pixels.shape[:2])
            places = [(column, row) for row in rows for column in columns]
            tiles = [pixels[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX] for column, row in places]
            names = [f"{level}/{column}_{row}" for column, row in places]
            pieces.update(zip(names, encoders.map(_jpeg, tiles), strict=True))
    return pieces


def _reduced_by(image_format: str, most: int) -> int:
    """The largest reduction that the decoder knows and ``most`` allows; only JPEG can be decoded smaller."""
    return next((by for by in (8, 4, 2) if by <= most), 1) if image_format == "JPEG" else 1


def _resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".jpg", pixels, _QUALITY)
    if not done:
        raise ImageUndecodable("The decoded image cannot be written as a JPEG.", problem="corrupt")
    return data.tobytes()


def obey(order: dict[str, Any]) -> dict[str, Any]:
    """Make what one order asks for: ``source``, ``target``, and ``size_px`` of a thumbnail or ``levels`` of tiles."""
    try:
        data = Path(order["source"]).read_bytes()
        pieces = make_thumbnail(data, order["size_px"]) if "size_px" in order else cut_tiles(data, *order["levels"])
        write_pack(Path(order["target"]), pieces)
    except Fault as fault:
        return {"fault": fault.reason, "message": fault.message}
    except (MemoryError, cv2.error) as error:
        return {"fault": ImageUndecodable.reason, "message": f"The image cannot be decoded within its memory ({type(error).__name__})."}
    except OSError as error:
        return {"errno": error.errno, "message": str(error)}
    return {"done": True}


def main() -> None:
    """Obey until there are no more orders."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps(obey(orjson.loads(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
