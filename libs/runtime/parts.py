"""Beginnings and ends of many objects: what headers and small files need, without reading the rest."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from libs.runtime.errors import Fault
from libs.runtime.object_store import ObjectStore

AT_ONCE: Final = 16
"""Requests to a remote store that are on their way together."""


@dataclass(frozen=True)
class Wanted:
    """What is to be read of one object.

    Args:
        key: of the object.
        size_bytes: as it was listed.
        etag: as it was listed.
        head_bytes: how much of its beginning.
        tail_bytes: how much of its end, where it is longer than ``head_bytes``.
        is_checked: the answer's tag must be that of the bytes; otherwise it may be the one of the listing.
    """

    key: str
    size_bytes: int
    etag: str
    head_bytes: int
    tail_bytes: int = 0
    is_checked: bool = False


@dataclass(frozen=True)
class Parts:
    """What was read; ``tail`` is empty where ``head`` is everything, or no end was wanted."""

    head: bytes
    tail: bytes
    etag: str


PartsOrFault = Parts | Fault | OSError
"""What kept one object from being read does not keep the others."""


@runtime_checkable
class PartsReader(Protocol):
    """A store that reads parts of many objects in one go, because each takes microseconds."""

    async def read_parts(self, wanted: Sequence[Wanted]) -> Sequence[PartsOrFault]:
        """One answer for each, in their order."""
        ...


async def read_parts(store: ObjectStore, wanted: Sequence[Wanted]) -> Sequence[PartsOrFault]:
    """Read parts of many objects: in one go where the store can, else with a bounded number of requests at once.

    Returns:
        One answer for each, in their order; what the store refused is an answer too.
    """
    if isinstance(store, PartsReader):
        return await store.read_parts(wanted)
    free = asyncio.Semaphore(AT_ONCE)

    async def one(want: Wanted) -> PartsOrFault:
        async with free:
            try:
                return await _read(store, want)
            except (Fault, OSError) as error:
                return error

    return await asyncio.gather(*(one(want) for want in wanted))


async def _read(store: ObjectStore, want: Wanted) -> Parts:
    head = await store.read(want.key, length=want.head_bytes)
    tail = b""
    if want.tail_bytes and want.size_bytes > want.head_bytes:
        tail = await store.read(want.key, start=max(0, want.size_bytes - want.tail_bytes), length=want.tail_bytes)
    etag = (await store.head(want.key)).etag if want.is_checked else want.etag
    # Another tag than the listed one says nothing of the bytes that came before it: the caller has to look again.
    return Parts(head, tail, etag)
