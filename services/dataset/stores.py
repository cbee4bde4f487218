"""From a dataset to the store its images lie in."""

import asyncio

from libs.runtime.allowed_roots import AllowedRoots
from libs.runtime.local_folder import LocalFolder
from libs.runtime.object_store import ObjectStore
from services.dataset.domain import StorageNotOffered, StorageType


class Stores:
    """Opens stores; the only place that will hold their credentials."""

    def __init__(self, roots: AllowedRoots) -> None:
        self._roots = roots

    async def open(self, storage_type: StorageType, path: str) -> ObjectStore:
        """The store behind a dataset's path, checked anew each time: links and folders change.

        Raises:
            StorageNotOffered: OSS.
            OutsideRoots: the path leads outside the allowed roots.
            PathNotFound: there is no folder.
            InvalidInput: no absolute path.
        """
        match storage_type:
            case StorageType.LOCAL:
                folder = await asyncio.to_thread(self._roots.resolve, path)
                return LocalFolder(folder, self._roots)
            case StorageType.OSS:
                message = "Storage type OSS is not offered by this installation; put the images into a local folder and use LOCAL."
                raise StorageNotOffered(message, storage_type=storage_type)
