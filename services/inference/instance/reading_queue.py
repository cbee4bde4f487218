"""The bounded queue before the one engine of an instance."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from libs.runtime.errors import Expired, QueueFull
from libs.runtime.logs import get_logger

log = get_logger()

R = TypeVar("R")


@dataclass(frozen=True)
class Read(Generic[R]):
    """A result and how long its request waited."""

    result: R
    queue_ms: float


@dataclass(frozen=True, eq=False)
class _Job(Generic[R]):
    data: bytes
    queued: float
    deadline: float | None
    answer: asyncio.Future[Read[R]]


class ReadingQueue(Generic[R]):
    """Reads one image after the other in a thread of its own.

    One thread decodes and reads: decoding is a few hundredths of the work, and a second thread would only take the engine's core.

    Args:
        read: called in the thread.
        size: requests it holds, the one in work included.
    """

    def __init__(self, read: Callable[[bytes], R], *, size: int) -> None:
        self._read = read
        self._size = size
        self._jobs: asyncio.Queue[_Job[R]] = asyncio.Queue()
        self._num_held = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
        self._worker: asyncio.Task[None] | None = None

    @property
    def num_in_flight(self) -> int:
        """Requests in work or waiting."""
        return self._num_held

    def start(self) -> None:
        """Begin to read."""
        self._worker = asyncio.create_task(self._work(), name="reading-queue")

    async def stop(self) -> None:
        """Read no more. An image in the engine is finished by its thread, its result is dropped."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def submit(self, data: bytes, *, remaining_seconds: float | None) -> Read[R]:
        """Wait for a turn, then for the result.

        Args:
            data: the image.
            remaining_seconds: what is left to the caller; an image whose turn comes later is not read.

        Raises:
            QueueFull: too many are waiting.
            Expired: the caller's time passed before its turn.
            Fault: what ``read`` raised.
        """
        if self._num_held >= self._size:
            raise QueueFull(f"{self._size} requests are waiting for this instance; try again, or add instances.", queue_size=self._size)
        now = time.monotonic()
        answer: asyncio.Future[Read[R]] = asyncio.get_running_loop().create_future()
        self._num_held += 1
        # Counted until the worker has let go of it, not until the caller has: the engine is busy that long.
        self._jobs.put_nowait(_Job(data, now, None if remaining_seconds is None else now + remaining_seconds, answer))
        return await answer

    async def _work(self) -> None:
        while True:
            job = await self._jobs.get()
            try:
                await self._answer(job)
            finally:
                self._num_held -= 1

    async def _answer(self, job: _Job[R]) -> None:
        if job.answer.done():
            return
        waited = time.monotonic() - job.queued
        if job.deadline is not None and time.monotonic() >= job.deadline:
            job.answer.set_exception(Expired("The request waited longer than its deadline allows; allow more time, or add instances."))
            return
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, job.data)
        except Exception as error:  # noqa: BLE001 - whatever one image does belongs to its caller, never to the queue
            if not job.answer.done():
                job.answer.set_exception(error)
            return
        if not job.answer.done():
            job.answer.set_result(Read(result, round(waited * 1000, 3)))
