"""Makes PNG files of documents and pictures in other formats: ``python -m services.dataset.uploads.foreign_images``.

A process of its own, with limits on memory and time, because the decoders of these formats are large and what is decoded came from
anywhere. Orders are one JSON object on stdin (``path``, ``folder``, ``suffix``). Each page is one JSON object on stdout, and so is a
refusal, the last.
"""

import json
import resource
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pypdfium2
from PIL import Image, ImageOps, ImageSequence

from services.dataset.uploads.foreign_formats import PICTURES

MAX_PAGES: Final = 1_000
MAX_PIXELS: Final = 60_000_000
"""A page; a sheet of A3 at 400 dpi has half of them."""
PDF_DPI: Final = 200
MEMORY_BYTES: Final = 2 * 1024**3
CPU_SECONDS: Final = 900


class Unusable(Exception):
    """Says why, and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def pages(path: Path, suffix: str) -> Iterator[Image.Image]:
    """The pages of a document, or the one picture of a file, upright.

    Raises:
        Unusable: too many pages or pixels, or animated.
        Exception: whatever a decoder raises for a damaged file.
    """
    if suffix == ".pdf":
        yield from _pdf_pages(path)
        return
    # Only the decoder that the name promises. From an open file: of a name Pillow 13 maps uncompressed TIFF into memory, and then mixes up
    # the sides of turned pages.
    with path.open("rb") as file, Image.open(file, formats=[{".webp": "WEBP", ".gif": "GIF"}.get(suffix, "TIFF")]) as image:
        num_frames = getattr(image, "n_frames", 1)
        if suffix in PICTURES and num_frames > 1:
            raise Unusable("ANIMATED", f"The picture moves ({num_frames} frames); save the one that is meant as PNG.")
        _check_pages(num_frames)
        for frame in ImageSequence.Iterator(image):
            _check_pixels(*frame.size)
            yield _eight_bit(ImageOps.exif_transpose(frame))


def _pdf_pages(path: Path) -> Iterator[Image.Image]:
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).casefold():
            raise Unusable("ENCRYPTED", "The PDF is locked with a password; save it without one.") from error
        raise
    with document:
        _check_pages(len(document))
        for number in range(len(document)):
            page = document[number]
            width, height = page.get_size()
            scale = PDF_DPI / 72
            _check_pixels(round(width * scale), round(height * scale))
            yield page.render(scale=scale, rev_byteorder=True).to_pil().convert("RGB")
            page.close()


def _eight_bit(frame: Image.Image) -> Image.Image:
    if frame.mode.startswith("I;16") or frame.mode == "I":
        return frame.point(lambda value: value / 256).convert("L")
    if frame.has_transparency_data:
        upper = frame.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", upper.size, "white"), upper).convert("RGB")
    return frame.convert("L" if frame.mode in ("1", "L") else "RGB")


def _check_pages(num_pages: int) -> None:
    if num_pages > MAX_PAGES:
        raise Unusable("TOO_MANY_PAGES", f"The document has {num_pages} pages, more than the {MAX_PAGES} allowed; split it.")


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Unusable("TOO_LARGE", f"A page would have {width} x {height} pixels, more than {MAX_PIXELS} in all; scan it coarser.")


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    # Our own limit on pixels is the one that counts, and a damaged file is worth no warning.
    Image.MAX_IMAGE_PIXELS = None
    warnings.simplefilter("ignore")


def main() -> None:
    """Follow the orders."""
    orders = json.loads(sys.stdin.readline())
    folder = Path(orders["folder"])
    _limit()
    try:
        for number, image in enumerate(pages(Path(orders["path"]), orders["suffix"]), 1):
            file = folder / f"{number}.png"
            image.save(file, compress_level=4)
            _tell(file=str(file))
    except Unusable as unusable:
        _tell(reason=unusable.reason, message=unusable.message)
    except MemoryError:
        _tell(reason="TOO_LARGE", message="Decoding it takes more memory than is allowed; save it smaller.")
    except Exception as error:  # noqa: BLE001 - decoders raise anything, and each is the answer to a damaged file
        _tell(reason="IMAGE_UNDECODABLE", message=f"It cannot be decoded ({type(error).__name__}: {str(error)[:200]}); save it again.")


def _tell(**said: str) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
