"""Where images and artifacts lie: one interface for a local folder and for a remote store."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """One object.

    Args:
        key: its path inside the store, parts joined by ``/``.
        size_bytes: of its content.
        etag: another one whenever the content changed; compared, never interpreted.
        modified_time: aware UTC.
    """

    key: str
    size_bytes: int
    etag: str
    modified_time: datetime


@dataclass(frozen=True)
class ObjectPage:
    """A part of a listing, in key order."""

    items: list[ObjectInfo]
    next_after: str | None
    """``after`` of the next page; ``None`` on the last one."""


class ObjectStore(Protocol):
    """A store of objects by key.

    Every method raises ``NotFound`` for a missing key and ``OutsideRoots`` for one that leads out of the store.
    """

    async def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> ObjectPage:
        """Objects whose key begins with ``prefix`` and sorts behind ``after``, nested ones included, at most ``limit``."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """What is known without reading."""
        ...

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The content, or ``length`` bytes of it from ``start``; fewer where it ends."""
        ...

    def read_stream(self, key: str, *, chunk_bytes: int = 1024 * 1024) -> AsyncIterator[bytes]:
        """The content in pieces."""
        ...

    async def write_new(self, key: str, data: bytes) -> ObjectInfo:
        """Store under a free key, whole or not at all.

        Raises:
            AlreadyExists: the key is taken; nothing changed.
        """
        ...

    async def replace(self, key: str, data: bytes, *, if_etag: str) -> ObjectInfo:
        """Replace the content, whole or not at all.

        Raises:
            Conflict: the object is no longer the one with ``if_etag``; nothing changed.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object."""
        ...
