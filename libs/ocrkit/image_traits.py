"""What a file says of its image beside its size: how colours are stored, whether it moves, which camera took it."""

import struct
from dataclasses import dataclass
from typing import Final

from libs.ocrkit.image_header import jpeg_segments, png_chunks, read_header

_MAKE, _MODEL = 0x010F, 0x0110
_MAX_NAME: Final = 60


@dataclass(frozen=True)
class ImageTraits:
    """Of one image.

    Args:
        is_cmyk: four inks instead of three lights.
        is_deep: more than 8 bits a channel.
        is_animated: several frames, of which only the first is read.
        is_turned: stored in another direction than it is shown (EXIF orientation).
        camera: maker and model as EXIF has them; empty where it says nothing.
    """

    is_cmyk: bool = False
    is_deep: bool = False
    is_animated: bool = False
    is_turned: bool = False
    camera: str = ""


def read_traits(data: bytes) -> ImageTraits:
    """From the whole file.

    Raises:
        ImageUndecodable: no JPG, PNG or BMP, or the header is broken.
    """
    header = read_header(data)
    is_cmyk = is_deep = is_animated = False
    camera = ""
    match header.format:
        case "JPEG":
            for marker, start, end in jpeg_segments(data):
                if marker == 0xE1 and data[start : start + 6] == b"Exif\x00\x00":
                    camera = camera or exif_camera(data[start + 6 : end])
                elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                    is_deep, is_cmyk = data[start] > 8, data[start + 5] == 4
                    break
        case "PNG":
            for kind, start, end in png_chunks(data):
                if kind == b"IHDR":
                    is_deep = data[start + 8] > 8
                elif kind == b"acTL":
                    is_animated = True
                elif kind == b"eXIf":
                    camera = exif_camera(data[start:end])
                elif kind == b"IDAT":
                    break
        case "BMP":
            pass
    return ImageTraits(is_cmyk, is_deep, is_animated, header.orientation != 1, camera)


def exif_camera(tiff: bytes) -> str:
    """Maker and model in the first directory of an EXIF block; empty where there are none."""
    found: dict[int, str] = {}
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for index in range(min(num_entries, 512)):
            entry = directory + 2 + 12 * index
            tag, kind, length, value = struct.unpack_from(f"{order}HHII", tiff, entry)
            if tag in (_MAKE, _MODEL) and kind == 2:
                start = entry + 8 if length <= 4 else value
                name = tiff[start : start + min(length, _MAX_NAME)].split(b"\0")[0]
                found[tag] = name.decode("ascii", "replace").strip()
    except (KeyError, struct.error):
        return ""
    return " ".join(found[tag] for tag in (_MAKE, _MODEL) if found.get(tag))
