"""Images: what is accepted, how it is turned, what is refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from libs.ocrkit.image_io import Scan, decode_image, read_header
from libs.runtime.errors import ImageUndecodable, TooLarge


def picture(width_px: int = 50, height_px: int = 60) -> Image.Image:
    colours = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(np.asarray(cv2.resize(colours, (width_px, height_px), interpolation=cv2.INTER_LINEAR)))


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def seen_by_pillow(data: bytes) -> NDArray[np.uint8]:
    """An independent decoder: upright, over white, blue-green-red."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    page = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(page, image).convert("RGB"))[..., ::-1]


def with_alpha(mode: str) -> Image.Image:
    image = picture()
    image.putalpha(Image.fromarray(np.linspace(0, 255, 3000, dtype=np.uint8).reshape(60, 50)))
    return image.convert(mode)


IMAGES: dict[str, bytes] = {
    "jpeg": encoded(picture(), "JPEG"),
    "jpeg progressive": encoded(picture(), "JPEG", progressive=True),
    "jpeg grey": encoded(picture().convert("L"), "JPEG"),
    "png": encoded(picture(), "PNG"),
    "png grey": encoded(picture().convert("L"), "PNG"),
    "png black and white": encoded(picture().convert("1"), "PNG"),
    "png palette": encoded(picture().quantize(16), "PNG"),
    "png palette with a clear colour": encoded(picture().quantize(16), "PNG", transparency=3),
    "png alpha": encoded(with_alpha("RGBA"), "PNG"),
    "png grey alpha": encoded(with_alpha("LA"), "PNG"),
    "bmp": encoded(picture(), "BMP"),
    "bmp grey": encoded(picture().convert("L"), "BMP"),
    "bmp palette": encoded(picture().quantize(16), "BMP"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_are_those_another_decoder_sees(name: str) -> None:
    image = decode_image(IMAGES[name])
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.abs(image.astype(int) - seen_by_pillow(IMAGES[name])).max() <= 2
    header = read_header(IMAGES[name])
    assert (header.width_px, header.height_px, header.orientation) == (50, 60, 1)
    assert header.format == name.split()[0].upper()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_exif_orientation_is_applied_once(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), image_format, exif=exif)
    image, header = decode_image(data), read_header(data)
    assert header.orientation == orientation
    assert image.shape == (header.height_px, header.width_px, 3)
    assert np.abs(image.astype(int) - seen_by_pillow(data)).max() <= 2


def test_sixteen_bits_become_eight() -> None:
    grey = np.arange(3000, dtype=np.uint16).reshape(60, 50) * 21
    data = cv2.imencode(".png", grey)[1].tobytes()
    assert np.abs(decode_image(data)[..., 1] - grey / 257).max() <= 0.5


def test_padding_of_a_32_bit_bmp_is_no_transparency() -> None:
    pixels = np.asarray(picture())[..., ::-1]
    padded = np.dstack([pixels, np.zeros((60, 50), np.uint8)])
    header = struct.pack("<2sIHHI", b"BM", 54 + padded.size, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 50, -60, 1, 32, 0, 0, 0, 0, 0, 0)
    np.testing.assert_array_equal(decode_image(header + padded.tobytes()), pixels)


@given(st.sampled_from(sorted(IMAGES)), st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_off_is_never_half_a_picture(name: str, share: float) -> None:
    data = IMAGES[name]
    with pytest.raises(ImageUndecodable):
        decode_image(data[: int(share * len(data))])


@given(st.sampled_from(sorted(IMAGES)), st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_file_is_a_picture_of_its_size_or_a_fault(name: str, place: int, value: int) -> None:
    data = bytearray(IMAGES[name])
    data[place % len(data)] = value
    try:
        image = decode_image(bytes(data), max_pixels=100_000)
    except (ImageUndecodable, TooLarge):
        return
    header = read_header(bytes(data))
    assert image.shape == (header.height_px, header.width_px, 3)


def test_the_header_is_enough_for_the_size() -> None:
    assert read_header(IMAGES["png"][:48]).width_px == 50
    assert read_header(IMAGES["bmp"][:40]).height_px == 60
    assert read_header(IMAGES["jpeg"][:400]).width_px == 50


def test_bytes_after_the_end_do_no_harm() -> None:
    for name in ("jpeg", "png", "bmp"):
        np.testing.assert_array_equal(decode_image(IMAGES[name] + b"\x00" * 100), decode_image(IMAGES[name]))


def test_a_preview_inside_a_jpeg_does_not_count_as_the_picture() -> None:
    preview = encoded(picture(8, 8), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    whole = IMAGES["jpeg"][:2] + segment + IMAGES["jpeg"][2:]
    assert read_header(whole).width_px == 50
    with pytest.raises(ImageUndecodable):
        decode_image(whole[: 2 + len(segment) + 300])


def test_a_bomb_is_refused_by_its_header() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )
    with pytest.raises(TooLarge) as caught:
        decode_image(bomb)
    assert caught.value.metadata["width_px"] == "60000"
    with pytest.raises(TooLarge):
        decode_image(IMAGES["jpeg"], max_pixels=2999)


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"GIF89a" + b"\x00" * 50, b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"not an image", b"<svg/>"]
)
def test_other_files_are_told_what_is_accepted(data: bytes) -> None:
    with pytest.raises(ImageUndecodable, match="accepted are JPG, PNG and BMP"):
        decode_image(data)


def test_an_image_without_pixels_is_refused() -> None:
    empty = bytearray(IMAGES["bmp"])
    empty[18:22] = b"\x00" * 4
    with pytest.raises(ImageUndecodable):
        read_header(bytes(empty))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_jpeg_is_decoded_no_larger_than_it_is_wanted(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(4001, 3001), "JPEG", quality=95, exif=exif)
    whole_HW3, scan = decode_image(data), Scan(data)
    assert (scan.height_px, scan.width_px) == whole_HW3.shape[:2]
    for scale, by in ((1.0, 1), (0.51, 1), (0.5, 2), (0.26, 2), (0.25, 4), (0.01, 8)):
        pixels_HW3 = scan.pixels(scale)
        height, width = pixels_HW3.shape[:2]
        assert (height, width) == (-(-scan.height_px // by), -(-scan.width_px // by))
        averaged_HW3 = cv2.resize(whole_HW3, (width, height), interpolation=cv2.INTER_AREA)
        assert np.abs(pixels_HW3.astype(int) - averaged_HW3).mean() < 1


def test_what_cannot_be_reduced_comes_whole() -> None:
    small, lossless = encoded(picture(), "JPEG"), encoded(picture(4000, 3000).convert("L"), "PNG")
    assert Scan(small).pixels(0.1).shape == (60, 50, 3)
    assert Scan(lossless).pixels(0.1).shape == (3000, 4000, 3)


def test_a_scan_is_refused_like_an_image() -> None:
    data = encoded(picture(), "JPEG")
    with pytest.raises(TooLarge):
        Scan(data, max_pixels=2999)
    with pytest.raises(ImageUndecodable):
        Scan(b"no image")
    with pytest.raises(ImageUndecodable):
        Scan(data[:-100]).pixels(1.0)
