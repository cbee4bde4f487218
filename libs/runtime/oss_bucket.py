"""A prefix of an OSS bucket as an object store."""

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import oss2

from libs.runtime.allowed_roots import OutsideRoots
from libs.runtime.errors import AlreadyExists, Conflict, NotFound
from libs.runtime.logs import get_logger
from libs.runtime.object_store import ObjectInfo, ObjectPage
from libs.runtime.oss_client import OssClient
from libs.runtime.oss_faults import Asked, Right, oss_faults

log = get_logger()

MAX_LISTED: Final = 1000
"""OSS lists no more at once."""
PIECE_BYTES: Final = 8 * 1024 * 1024
"""What a stream asks for at once: most images are one request, and a slow reader holds no connection open."""


@dataclass(frozen=True)
class _Piece:
    data: bytes
    etag: str
    size_bytes: int


class OssBucket:
    """An ``ObjectStore`` below a prefix. As in a ``LocalFolder``, names with a leading dot do not exist for it, nor do the empty
    objects that stand for folders (``a/``); names with ``.`` and ``..`` as parts, which programs on the way take for steps, are
    left out too. Every other name OSS allows is a key, ``a//b.jpg`` among them.

    Tries are repeated as ``OssClient`` says. The etag is OSS's own: of the content, so that a copy has the same.

    Args:
        client: the connection.
        bucket: its name.
        prefix: ends with ``/``, or is empty.
    """

    def __init__(self, client: OssClient, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket_name = bucket
        self._prefix = prefix
        with oss_faults(Asked(Right.LIST, client.name, bucket)):
            self._bucket = client.bucket(bucket)

    async def list(self, prefix: str = "", *, after: str | None = None, limit: int = MAX_LISTED) -> ObjectPage:
        """See ``ObjectStore``. A page may hold fewer objects than there are, and even none, before the last one."""

        def attempt(_again: bool) -> Any:
            with oss_faults(Asked(Right.LIST, self._client.name, self._bucket_name)):
                start = "" if after is None else self._prefix + after
                return self._bucket.list_objects_v2(prefix=self._prefix + prefix, start_after=start, max_keys=min(limit, MAX_LISTED))

        found = await self._client.repeat(attempt)
        items = [
            ObjectInfo(key, one.size, one.etag, datetime.fromtimestamp(one.last_modified, UTC))
            for one in found.object_list
            if self._is_shown(key := one.key.removeprefix(self._prefix))
        ]
        last = found.object_list[-1].key.removeprefix(self._prefix) if found.is_truncated and found.object_list else None
        return ObjectPage(items, last)

    async def head(self, key: str) -> ObjectInfo:
        """See ``ObjectStore``."""
        name = self._name(key)
        return await self._client.repeat(lambda _again: self._head(key, name))

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See ``ObjectStore``."""
        name = self._name(key)
        if length == 0:
            await self.head(key)
            return b""
        return (await self._client.repeat(lambda _again: self._get(name, start, length))).data

    async def read_stream(self, key: str, *, chunk_bytes: int = 1024 * 1024) -> AsyncIterator[bytes]:
        """See ``ObjectStore``.

        Raises:
            Conflict: the object was replaced while it was read; what came before is of the old one.
        """
        name, etag, start, size_bytes = self._name(key), "", 0, 1
        while start < size_bytes:
            piece = await self._piece(name, start, etag)
            etag, size_bytes = piece.etag, piece.size_bytes
            for at in range(0, len(piece.data), chunk_bytes):
                yield piece.data[at : at + chunk_bytes]
            start += len(piece.data)

    async def write_new(self, key: str, data: bytes) -> ObjectInfo:
        """See ``ObjectStore``.

        OSS itself keeps two writers apart (``x-oss-forbid-overwrite``), but not in a bucket that keeps versions: there, one who
        writes between our look and our write has its content replaced, and keeps it as an older version. A try that is repeated
        takes an object that holds just ``data`` for its own.
        """
        name = self._name(key)

        def attempt(again: bool) -> str:
            try:
                self._head(key, name)
            except NotFound:
                try:
                    return self._put(name, data, {"x-oss-forbid-overwrite": "true"})
                except AlreadyExists:
                    if not again:
                        raise
            found = self._get(name)
            if not again or found.data != data:
                raise AlreadyExists(f"{key} exists already.", key=key)
            return found.etag

        return await self._written(key, await self._client.repeat(attempt))

    async def replace(self, key: str, data: bytes, *, if_etag: str) -> ObjectInfo:
        """See ``ObjectStore``, but for the last moment: OSS has no conditional write.

        The etag is compared just before the write. What another program writes between the two, some milliseconds, is replaced
        unseen, unless the bucket keeps versions. Of two that replace at the same moment, the one whose content did not stay
        gets ``Conflict`` where it is no longer there when the write is looked at afterwards; whoever writes later than that has
        seen, or could have seen, the first one's etag.

        Raises:
            Conflict: the object is not the one with ``if_etag``, or not the written one a moment after the write.
        """
        name = self._name(key)

        def attempt(again: bool) -> str:
            found = self._head(key, name)
            if found.etag == if_etag:
                return self._put(name, data, {})
            if again and (stored := self._get(name)).data == data:
                return stored.etag
            raise Conflict(f"{key} was changed by another program; read it again, then repeat.", key=key)

        return await self._written(key, await self._client.repeat(attempt))

    async def delete(self, key: str) -> None:
        """See ``ObjectStore``. Of two that delete at the same moment both may succeed."""
        name = self._name(key)

        def attempt(again: bool) -> None:
            try:
                self._head(key, name)
            except NotFound:
                if again:
                    return
                raise
            with oss_faults(self._asked(Right.DELETE, name)):
                self._bucket.delete_object(name)

        await self._client.repeat(attempt)

    def _name(self, key: str) -> str:
        """The object's name in the bucket.

        Raises:
            OutsideRoots: no key.
            NotFound: a hidden one.
        """
        parts = key.split("/")
        if "\0" in key or not parts[-1] or any(part in (".", "..") for part in parts):
            raise OutsideRoots(
                f"{key[:300]!r} is no key; give an object's name below the prefix, without '.' and '..' parts.", path=key[:300]
            )
        if any(part.startswith(".") for part in parts):
            raise NotFound(f"There is no {key} in {self._place}: hidden names are left alone.", key=key)
        return self._prefix + key

    def _is_shown(self, key: str) -> bool:
        if not key or key.endswith("/"):
            return False
        try:
            self._name(key)
        except OutsideRoots:
            log.warning("name_not_usable", bucket=self._bucket_name, key=key)
            return False
        except NotFound:
            return False
        return True

    @property
    def _place(self) -> str:
        return f"oss://{self._bucket_name}/{self._prefix}"

    def _asked(self, right: Right, name: str) -> Asked:
        return Asked(right, self._client.name, self._bucket_name, name)

    def _head(self, key: str, name: str) -> ObjectInfo:
        with oss_faults(self._asked(Right.GET, name)):
            found = self._bucket.head_object(name)
            return ObjectInfo(key, found.content_length, found.etag, parsedate_to_datetime(found.headers["Last-Modified"]))

    def _get(self, name: str, start: int = 0, length: int | None = None, *, if_etag: str = "") -> _Piece:
        # Without the first, OSS answers a range that reaches over the end with the whole object.
        headers = {"x-oss-range-behavior": "standard"}
        if start or length is not None:
            headers["range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        if if_etag:
            headers["if-match"] = if_etag
        with oss_faults(self._asked(Right.GET, name)):
            try:
                found = self._bucket.get_object(name, headers=headers)
            except oss2.exceptions.ServerError as error:
                if error.status == 416:
                    return _Piece(b"", if_etag, 0)
                raise
            response = found.resp.response
            try:
                # As stored: what is kept compressed is not to be unpacked here.
                data = response.raw.read(decode_content=False)
            finally:
                response.close()
        if found.content_range:
            return _Piece(data, found.etag, int(found.content_range.rpartition("/")[2]))
        # A proxy on the way may have dropped the range.
        return _Piece(data[start:][:length], found.etag, len(data))

    async def _piece(self, name: str, start: int, if_etag: str) -> _Piece:
        return await self._client.repeat(lambda _again: self._get(name, start, PIECE_BYTES, if_etag=if_etag))

    def _put(self, name: str, data: bytes, headers: dict[str, str]) -> str:
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        with oss_faults(self._asked(Right.PUT, name)):
            etag: str = self._bucket.put_object(name, data, headers={"Content-MD5": digest, **headers}).etag
            return etag

    async def _written(self, key: str, etag: str) -> ObjectInfo:
        found = await self.head(key)
        if found.etag != etag:
            raise Conflict(f"{key} was changed by another program at the same moment; read it again, then repeat.", key=key)
        return found
