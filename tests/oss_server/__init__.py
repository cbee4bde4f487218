"""An OSS of our own for tests: verifies what clients sign and answers as Alibaba's does, and does nothing that OSS cannot.

That it does is checked with two of Alibaba's own clients: ``oss2``, through everything that runs on it, and ``ali-oss``
(``tests/full/test_oss_clients.py``).
"""

from tests.oss_server.objects import FolderObjects, MemoryObjects, Stored
from tests.oss_server.server import OssServer, oss_server
from tests.oss_server.trouble import Trouble

__all__ = ["FolderObjects", "MemoryObjects", "OssServer", "Stored", "Trouble", "oss_server"]
