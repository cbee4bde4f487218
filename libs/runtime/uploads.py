"""Client-streaming uploads: the bytes, and whether they came to their end."""

from collections.abc import AsyncIterator
from typing import Final, Protocol

from libs.runtime.errors import InvalidInput

MAX_LABELS_BYTES: Final = 1024**3
"""Of an uploaded label file, or of a ZIP of them."""


class Piece(Protocol):
    """A message of an upload."""

    chunk: bytes
    complete: bool


async def whole_upload(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    """The bytes of ``first`` and of all messages after it.

    gRPC ends the stream of a caller that breaks off as it ends that of one who is done; which of the two it was is known some time
    later. Therefore the last message says that it is the last.

    Raises:
        InvalidInput: the stream ended before it was complete.
    """
    yield first.chunk
    complete = first.complete
    async for piece in rest:
        yield piece.chunk
        complete = piece.complete
    if not complete:
        raise InvalidInput("The upload broke off before its end; nothing of it was kept. Send it again.", field="complete")
