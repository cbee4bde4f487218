"""What the first bytes of a JPEG, PNG or BMP say, and whether the last ones are there. Pixels are never touched here.

The three containers are walked by hand: OpenCV gives no size without decoding, and decodes half a file into a half-grey picture
without a word.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from libs.runtime.errors import ImageUndecodable

ImageFormat = Literal["JPEG", "PNG", "BMP"]

_MAX_JPEG_SCANS = 200
"""A progressive JPEG has about ten scans; thousands of them are an attack on the decoder's time."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_NEXT_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_OTHER_FORMATS: tuple[tuple[bytes, int, str], ...] = (
    (b"GIF8", 0, "a GIF"),
    (b"WEBP", 8, "a WebP"),
    (b"II*\x00", 0, "a TIFF"),
    (b"MM\x00*", 0, "a TIFF"),
    (b"ftyp", 4, "a HEIC, AVIF or video file"),
    (b"%PDF", 0, "a PDF"),
    (b"<", 0, "a text file"),
)


@dataclass(frozen=True)
class ImageHeader:
    """Size and turn of an image.

    Args:
        width_px: width of the upright image, that is after ``orientation`` is applied.
        height_px: height of the upright image.
        orientation: EXIF orientation, 1 to 8; 1 where the file says nothing or nonsense.
    """

    format: ImageFormat
    width_px: int
    height_px: int
    orientation: int


def read_header(data: bytes) -> ImageHeader:
    """Format and upright size from the beginning of a file.

    Args:
        data: the file, or as much of its beginning as holds the header.

    Raises:
        ImageUndecodable: no JPG, PNG or BMP, or the header is broken or cut off.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg_header(data)
        if data.startswith(_PNG_SIGNATURE):
            return _png_header(data)
        if data.startswith(b"BM"):
            return _bmp_header(data)
    except (struct.error, IndexError) as error:
        raise ImageUndecodable("The image ends within its header; copy the file again.", problem="truncated") from error
    raise ImageUndecodable(f"{_describe(data)}; accepted are JPG, PNG and BMP images.", problem="format")


def check_complete(data: bytes, image_format: ImageFormat) -> None:
    """Make sure that the file was not cut off or damaged on its way, as far as its container tells.

    Raises:
        ImageUndecodable: the end is missing, or a PNG's checksum is wrong.
    """
    try:
        match image_format:
            case "JPEG":
                complete = _jpeg_complete(data)
            case "PNG":
                complete = _png_complete(data)
            case "BMP":
                complete = _bmp_complete(data, len(data))
    except (struct.error, IndexError):
        complete = False
    if not complete:
        raise ImageUndecodable("The image is cut off: its end is missing; copy the file again.", problem="truncated")


def ends_whole(head: bytes, tail: bytes, size_bytes: int, header: ImageHeader) -> bool:
    """Whether a file ends as its format does. Where it does not, only ``check_complete`` can tell: some programs write more behind it.

    Args:
        head: its beginning, with the whole header.
        tail: its last 64 bytes or so.
        size_bytes: of the whole file.
        header: what ``read_header`` says of it.
    """
    match header.format:
        case "JPEG":
            return b"\xff\xd9" in tail
        case "PNG":
            return _PNG_END in tail
        case "BMP":
            return _bmp_complete(head, size_bytes)


def _describe(data: bytes) -> str:
    if not data.strip(b"\x00"):
        return "The file is empty"
    for magic, offset, name in _OTHER_FORMATS:
        if data[offset : offset + len(magic)] == magic:
            return f"This is {name}"
    return "This is no image that is known here"


def _upright(image_format: ImageFormat, width_px: int, height_px: int, orientation: int) -> ImageHeader:
    if width_px <= 0 or height_px <= 0:
        raise ImageUndecodable("The image has no pixels.", problem="corrupt")
    if orientation >= 5:
        width_px, height_px = height_px, width_px
    return ImageHeader(image_format, width_px, height_px, orientation)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end of the payload) of each segment up to the end of the image; the compressed scans are stepped over."""
    position = 2
    while True:
        while data[position] == 0xFF and data[position + 1] == 0xFF:
            position += 1
        if data[position] != 0xFF:
            raise ImageUndecodable("The JPEG is damaged; copy the file again.", problem="corrupt")
        marker = data[position + 1]
        position += 2
        if marker == 0xD9:
            yield marker, position, position
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        yield marker, position + 2, position + length
        position += length
        if marker == 0xDA:
            found = _NEXT_JPEG_MARKER.search(data, position)
            if found is None:
                return
            position = found.start()


def _jpeg_header(data: bytes) -> ImageHeader:
    orientation = 1
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\x00\x00":
            orientation = exif_orientation(data[start + 6 : end])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height_px, width_px = struct.unpack_from(">HH", data, start + 1)
            return _upright("JPEG", width_px, height_px, orientation)
        elif marker in (0xDA, 0xD9):
            break
    raise ImageUndecodable("The JPEG has no frame header; copy the file again.", problem="corrupt")


def _jpeg_complete(data: bytes) -> bool:
    num_scans = 0
    for marker, _, _ in jpeg_segments(data):
        num_scans += marker == 0xDA
        if num_scans > _MAX_JPEG_SCANS:
            raise ImageUndecodable(f"The JPEG has more than {_MAX_JPEG_SCANS} scans; save it again.", problem="corrupt")
        if marker == 0xD9:
            return num_scans > 0
    return False


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end of the content) of each chunk."""
    position = len(_PNG_SIGNATURE)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, position + 8, position + 8 + length
        position += length + 12


def _png_header(data: bytes) -> ImageHeader:
    width_px = height_px = 0
    orientation = 1
    for kind, start, end in png_chunks(data):
        if kind == b"IHDR":
            width_px, height_px = struct.unpack_from(">II", data, start)
        elif kind == b"eXIf":
            orientation = exif_orientation(data[start:end])
        elif kind == b"IDAT":
            return _upright("PNG", width_px, height_px, orientation)
    # The turn may stand in any chunk before the pixels: a size without it could be the wrong way round.
    raise IndexError(len(data))


def _png_complete(data: bytes) -> bool:
    for kind, start, end in png_chunks(data):
        (checksum,) = struct.unpack_from(">I", data, end)
        critical = kind[0] < 0x61
        if critical and zlib.crc32(memoryview(data)[start - 4 : end]) != checksum:
            raise ImageUndecodable("The PNG is damaged: a checksum is wrong; copy the file again.", problem="corrupt")
        if kind == b"IEND":
            return True
    return False


def _bmp_header(data: bytes) -> ImageHeader:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:
        width_px, height_px = struct.unpack_from("<HH", data, 18)
    else:
        width_px, height_px = struct.unpack_from("<ii", data, 18)
    return _upright("BMP", width_px, abs(height_px), 1)


def _bmp_complete(data: bytes, size_bytes: int) -> bool:
    (offset, header_size) = struct.unpack_from("<II", data, 10)
    if header_size == 12:
        width_px, height_px, _, num_bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width_px, height_px, _, num_bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression in (1, 2):
        # Run lengths: the end is told by a marker, which only decoding finds.
        return bool(size_bytes > offset)
    stride = (abs(width_px) * num_bits + 31) // 32 * 4
    return bool(size_bytes >= offset + stride * abs(height_px))


def exif_orientation(tiff: bytes) -> int:
    """The orientation tag of the first directory of an EXIF block (a TIFF header and what follows); 1 where there is none."""
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for index in range(min(num_entries, 512)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * index)
            if tag == 0x0112:
                return int(value) if kind == 3 and 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        return 1
    return 1
