"""A bucket of a million objects that takes no memory: names and contents are computed. Served by a process of its own."""

import multiprocessing
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, overload

import cv2
import numpy as np

from tests.oss_server import oss_server
from tests.oss_server.objects import Stored, stored

BUCKET = "large"
IN_A_FOLDER = 1000


class LargeBucket(Sequence[str]):
    """``Objects`` of which every so-many-th is an image, and the others are none of the service's business.

    Args:
        num_objects: a multiple of 1,000.
        num_images: of them; divides ``num_objects``.
    """

    def __init__(self, num_objects: int, num_images: int) -> None:
        self._num_objects = num_objects
        self._every = num_objects // num_images
        pixels = np.random.default_rng(1).integers(180, 255, (360, 640, 3), dtype=np.uint8)
        self._image = stored(cv2.imencode(".jpg", pixels)[1].tobytes())
        self._other = stored(b"a note\n")

    def __len__(self) -> int:
        return self._num_objects

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < self._num_objects:
            raise IndexError(index)
        suffix = "txt" if index % self._every else "jpg"
        return f"scans/{index // IN_A_FOLDER:05}/{index % IN_A_FOLDER:03}.{suffix}"

    def names_after(self, start: str) -> Iterator[str]:
        """See ``Objects``."""
        for index in range(bisect_right(self, start), self._num_objects):
            yield self[index]

    def get(self, name: str) -> Stored | None:
        """See ``Objects``."""
        if name not in self[bisect_right(self, name) - 1 : bisect_right(self, name)]:
            return None
        return self._image if name.endswith(".jpg") else self._other

    def put(self, name: str, found: Stored) -> None:
        """Nobody writes."""
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Nobody writes."""
        raise NotImplementedError


@dataclass(frozen=True)
class Served:
    """Settings of a connection to the server."""

    connection: dict[str, Any]
    path: str


@contextmanager
def served(num_objects: int, num_images: int) -> Iterator[Served]:
    """The bucket behind the verifying server."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, num_objects, num_images), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Served(ours.recv(), f"oss://{BUCKET}/scans/")
    finally:
        ours.close()
        process.join(10)


def _serve(control: Connection, num_objects: int, num_images: int) -> None:
    with oss_server() as server:
        server.new_bucket(BUCKET, LargeBucket(num_objects, num_images))
        control.send(server.connection())
        # Until the other side is gone.
        control.poll(None)
