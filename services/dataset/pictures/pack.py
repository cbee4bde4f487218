"""A file that holds many small ones: the tiles of an image, which would be hundreds of files otherwise.

``MAGIC``, the length of the index as 4 bytes, the index (JSON: name -> offset, length, CRC-32), the pieces. Each piece is checked when
it is read, so a file that a full disk or a dying machine left half written is never shown.
"""

import os
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

MAGIC: Final = b"INKPACK1"
_LENGTH: Final = struct.Struct("<I")
_MAX_INDEX_BYTES: Final = 16 * 1024 * 1024


class PackDamaged(Exception):
    """The file is not what ``write_pack`` left."""


def write_pack(path: Path, pieces: Mapping[str, bytes]) -> None:
    """Write the file whole or not at all."""
    index: dict[str, tuple[int, int, int]] = {}
    offset = 0
    for name, data in pieces.items():
        index[name] = offset, len(data), zlib.crc32(data)
        offset += len(data)
    head = orjson.dumps(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((MAGIC, _LENGTH.pack(len(head)), head, *pieces.values()))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_piece(path: Path, name: str) -> bytes | None:
    """One piece; None when the file holds none of this name.

    Raises:
        FileNotFoundError: there is no such file.
        PackDamaged: it is not what was written.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise PackDamaged(str(path))
        try:
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            if length > _MAX_INDEX_BYTES:
                raise PackDamaged(str(path))
            found = orjson.loads(file.read(length)).get(name)
            if found is None:
                return None
            offset, num_bytes, checksum = found
        except (struct.error, orjson.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
            raise PackDamaged(str(path)) from error
        file.seek(offset, os.SEEK_CUR)
        data = file.read(num_bytes)
    if zlib.crc32(data) != checksum:
        raise PackDamaged(str(path))
    return data
