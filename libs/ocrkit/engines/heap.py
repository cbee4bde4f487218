"""How the C library keeps freed memory, set for processes that read pages of ever other sizes."""

import ctypes
import platform

__all__ = ["trim_heap"]

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1024 * 1024


def trim_heap() -> None:
    """Give freed memory back to the system, and from now on every larger block as soon as it is freed.

    Tensors of one page rarely fit into the gaps that another page's left, and glibc raises by itself, up to 32 MB, the size from which
    it gives blocks back: a third of a reading process was such gaps. Nothing happens where the C library is another one.

    Source: mallopt(3), malloc_trim(3).
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.malloc_trim(0)
