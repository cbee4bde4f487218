"""What an image's header says of it: its size, and why it cannot be used where it cannot. Pixels are not decoded here.

Damage in the middle of a file therefore shows only where somebody decodes it; a header that lies, an end that is missing and a size that
does not do are found here.
"""

from dataclasses import dataclass
from typing import Final

from libs.ocrkit.image_header import ImageHeader, check_complete, ends_whole, read_header
from libs.ocrkit.image_io import check_num_pixels
from libs.runtime.errors import Fault, ImageUndecodable, TooLarge
from services.dataset.image import MIN_SIDE_PX, Finding, Severity

HEAD_BYTES: Final = 16 * 1024
"""Holds the headers of nearly all images, and small images whole."""
TAIL_BYTES: Final = 64


@dataclass(frozen=True)
class Pixels:
    """Size of the upright image, 0 when it is not known, and what is wrong with it."""

    width_px: int
    height_px: int
    findings: tuple[Finding, ...] = ()


def measure(data: bytes) -> Pixels:
    """From the whole file."""
    try:
        header = check_num_pixels(read_header(data))
        check_complete(data, header.format)
    except (ImageUndecodable, TooLarge) as fault:
        return refused(fault)
    return _of_size(header)


def measure_ends(head: bytes, tail: bytes, size_bytes: int) -> Pixels | None:
    """From the beginning and the end of a file; None when they do not tell.

    Args:
        head: the first ``HEAD_BYTES``.
        tail: the last ``TAIL_BYTES``; empty when ``head`` is the whole file.
        size_bytes: of the file.
    """
    if not tail:
        return measure(head)
    try:
        header = check_num_pixels(read_header(head))
    except TooLarge as fault:
        return refused(fault)
    except ImageUndecodable as fault:
        # A header longer than what was read looks cut off.
        return None if fault.metadata.get("problem") == "truncated" else refused(fault)
    return _of_size(header) if ends_whole(head, tail, size_bytes, header) else None


def refused(fault: Fault) -> Pixels:
    """Of an image that cannot be used for the reason the fault gives."""
    return rejected(fault.reason, fault.message)


def rejected(code: str, message: str) -> Pixels:
    """Of an image that cannot be used."""
    return Pixels(0, 0, (Finding(Severity.REJECTED, code, message),))


def _of_size(header: ImageHeader) -> Pixels:
    if min(header.width_px, header.height_px) > MIN_SIDE_PX:
        return Pixels(header.width_px, header.height_px)
    message = f"The image has {header.width_px} x {header.height_px} pixels; both sides must be over {MIN_SIDE_PX}. Use a larger picture."
    return Pixels(header.width_px, header.height_px, (Finding(Severity.REJECTED, "SIDE_TOO_SHORT", message),))
