"""From a dataset to the store its images lie in."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from libs.runtime.allowed_roots import AllowedRoots, OutsideRoots
from libs.runtime.errors import InvalidInput
from libs.runtime.local_folder import LocalFolder
from libs.runtime.object_store import ObjectStore
from libs.runtime.oss_bucket import OssBucket
from libs.runtime.oss_client import OssClient
from libs.runtime.oss_connection import OssConnection
from services.dataset.domain import Place, StorageNotOffered, StorageType

SCHEME: Final = "oss://"
DATASETS_FOLDER: Final = "inkwright-datasets"
"""Holds the folders that nobody named."""


class Stores:
    """Opens stores; the only place that holds their credentials.

    Args:
        roots: folders that data sets may lie in.
        connections: to OSS, by name.
    """

    def __init__(self, roots: AllowedRoots, connections: Mapping[str, OssConnection]) -> None:
        self._roots = roots
        self._connections = connections
        self._clients: dict[str, OssClient] = {}

    async def open(self, place: Place) -> ObjectStore:
        """The store of a place, checked anew each time: links and folders change. OSS is not asked yet.

        Raises:
            StorageNotOffered: OSS, and the operator has set up no connection.
            OutsideRoots: the path leads outside what the operator allows.
            PathNotFound: there is no folder.
            InvalidInput: no absolute path, no ``oss://bucket/prefix/``, no such connection.
        """
        match place.storage_type:
            case StorageType.LOCAL:
                if place.connection:
                    raise InvalidInput("A local folder has no connection; leave it empty, or use storage type OSS.", field="connection")
                folder = await asyncio.to_thread(self._roots.resolve, place.path)
                return LocalFolder(folder, self._roots)
            case StorageType.OSS:
                name = place.connection
                connection = self._connection(name)
                bucket, prefix = parse_oss_path(place.path)
                _check_roots(name, connection, bucket, prefix)
                if name not in self._clients:
                    self._clients[name] = OssClient(name, connection)
                return OssBucket(self._clients[name], bucket, prefix)

    async def made(self, place: Place, dataset_id: str) -> Place:
        """A place for a dataset that is to be filled: its folder is made where it is missing, and chosen where none is named.

        Raises:
            OutsideRoots: the path leads outside what the operator allows, or there is no folder at all.
            InvalidInput: no absolute path, or the folder cannot be made.
        """
        if place.storage_type is not StorageType.LOCAL:
            return place
        if not place.path and not self._roots.roots:
            raise OutsideRoots("Inkwright may use no folder; set INKWRIGHT_ROOTS (colon-separated) and start it again.")
        path = place.path or str(self._roots.roots[0] / DATASETS_FOLDER / dataset_id)
        await asyncio.to_thread(self._roots.make, path)
        return replace(place, path=path)

    async def close(self) -> None:
        """Let go of every connection."""
        for client in self._clients.values():
            client.close()

    def _connection(self, name: str) -> OssConnection:
        if not self._connections:
            message = (
                "Storage type OSS is not offered by this installation: the operator has set up no connection (INKWRIGHT_OSS_CONNECTIONS). "
                "Put the images into a local folder and use LOCAL."
            )
            raise StorageNotOffered(message, storage_type=StorageType.OSS)
        if name not in self._connections:
            known = ", ".join(sorted(self._connections))
            raise InvalidInput(f"There is no OSS connection {name[:100]!r}; name one of: {known}.", connection=name[:100], known=known)
        return self._connections[name]


def parse_oss_path(path: str) -> tuple[str, str]:
    """Bucket and prefix of ``oss://bucket/prefix/``; the prefix ends with a slash, or is empty. Nothing is unquoted.

    Raises:
        InvalidInput: something else.
    """
    bucket, _, prefix = path.removeprefix(SCHEME).partition("/")
    parts = prefix.removesuffix("/").split("/")
    if (
        not path.startswith(SCHEME)
        or not bucket
        or "\0" in path
        or prefix.startswith(("/", "\\"))
        or any(part in (".", "..") for part in parts)
    ):
        raise InvalidInput(f"{path[:300]!r} is no place in OSS; give oss://bucket/prefix/, without '.' and '..' parts.", path=path[:300])
    return bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/"


def _check_roots(name: str, connection: OssConnection, bucket: str, prefix: str) -> None:
    place = f"{SCHEME}{bucket}/{prefix}"
    if connection.roots and not any(place.startswith(root.rstrip("/") + "/") for root in connection.roots):
        allowed = ", ".join(connection.roots)
        message = f"{place} lies outside what OSS connection {name} is for ({allowed}); move it there, or add it to the connection's roots."
        raise OutsideRoots(message, path=place, roots=allowed)
