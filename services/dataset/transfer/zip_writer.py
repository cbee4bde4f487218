"""ZIPs that are written as they are sent: equal content gives equal bytes, and memory does not grow with the number of files."""

import struct
import tempfile
import zlib
from collections.abc import Callable
from typing import BinaryIO, Final

_PIECE: Final = 256 * 1024
_HELD: Final = 4 * 1024 * 1024
"""Bytes of one file, or of the list of files, that are held in memory; more lie on disk."""
_MAX_32: Final = 0xFFFFFFFF
_MAX_16: Final = 0xFFFF
_UTF8: Final = 0x800
_DATE: Final = 1 << 5 | 1
"""The first day that a ZIP can name: the moment of writing would make equal ZIPs differ."""
_MODE: Final = 0o100644 << 16
_STORED, _DEFLATED = 0, 8


class ZipWriter:
    """Files one after the other.

    Args:
        out: takes the bytes of the ZIP.
    """

    def __init__(self, out: Callable[[bytes], None]) -> None:
        self._out = out
        self._offset = 0
        self._num_files = 0
        self._directory = tempfile.SpooledTemporaryFile(_HELD)  # noqa: SIM115 - closed in ``close``

    def add(self, name: str, content: BinaryIO, *, is_packed: bool) -> None:
        """Write a file.

        Args:
            name: its path, parts separated by ``/``.
            content: read from where it stands to its end.
            is_packed: whether it is compressed; images are already.
        """
        with tempfile.SpooledTemporaryFile(_HELD) as body:
            crc = size = 0
            packer = zlib.compressobj(6, zlib.DEFLATED, -15) if is_packed else None
            while piece := content.read(_PIECE):
                crc = zlib.crc32(piece, crc)
                size += len(piece)
                body.write(packer.compress(piece) if packer else piece)
            if packer:
                body.write(packer.flush())
            packed_size = body.tell()
            body.seek(0)
            self._write_entry(name.encode("utf-8", "surrogateescape"), _DEFLATED if packer else _STORED, crc, packed_size, size)
            while piece := body.read(_PIECE):
                self._put(piece)

    def close(self) -> None:
        """Write the list of files."""
        start, size = self._offset, self._directory.tell()
        self._directory.seek(0)
        while piece := self._directory.read(_PIECE):
            self._put(piece)
        self._directory.close()
        if self._num_files >= _MAX_16 or start >= _MAX_32 or size >= _MAX_32:
            end = self._offset
            self._put(struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, self._num_files, self._num_files, size, start))
            self._put(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
        number = min(self._num_files, _MAX_16)
        self._put(struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, number, number, min(size, _MAX_32), min(start, _MAX_32), 0))

    def _write_entry(self, name: bytes, method: int, crc: int, packed_size: int, size: int) -> None:
        is_large = max(packed_size, size) >= _MAX_32
        sizes = (_MAX_32, _MAX_32) if is_large else (packed_size, size)
        large = struct.pack("<QQ", size, packed_size) if is_large else b""
        extra = struct.pack("<HH", 1, len(large)) + large if large else b""
        common = struct.pack("<HHHHHIIIH", 45 if is_large else 20, _UTF8, method, 0, _DATE, crc, *sizes, len(name))
        offset, self._num_files = self._offset, self._num_files + 1
        self._put(b"PK\x03\x04" + common + struct.pack("<H", len(extra)) + name + extra)
        if offset >= _MAX_32:
            large += struct.pack("<Q", offset)
            extra = struct.pack("<HH", 1, len(large)) + large
        tail = struct.pack("<HHHHII", len(extra), 0, 0, 0, _MODE, min(offset, _MAX_32))
        self._directory.write(b"PK\x01\x02" + struct.pack("<H", 3 << 8 | 45) + common + tail + name + extra)

    def _put(self, data: bytes) -> None:
        self._offset += len(data)
        self._out(data)
