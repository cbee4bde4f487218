"""Bundles on this host's disk: fetched from the trainer by digest, verified, kept for the next instance."""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import grpc

from inkwright.trainer.v1 import trainer_service_pb2
from inkwright.trainer.v1.trainer_service_pb2_grpc import TrainerServiceStub
from libs.ocrkit.bundle import SUFFIX, BundleInvalid, open_bundle
from libs.runtime.delivery import growing_delay
from libs.runtime.errors import Expired, Fault, NoReadyInstance
from libs.runtime.grpc_client import stream
from libs.runtime.logs import get_logger
from services.inference.domain import Reason, Trouble

log = get_logger()

FETCH_SECONDS = 300.0
MAX_DELAY_SECONDS = 30.0
_PART_SUFFIX = ".part"


@dataclass(frozen=True)
class _Failure:
    trouble: Trouble
    num_tries: int
    not_before: float


class BundleCache:
    """A folder of bundles named by their digest.

    Nobody waits here: ``path`` answers at once, a fetch goes on beside and ends with ``wake``.

    Args:
        folder: made when needed.
        trainer: channel to the service they come from.
        keep: files kept beyond those in use, the latest used ones.
        wake: called when a fetch ended, well or not.
    """

    def __init__(self, folder: Path, trainer: grpc.aio.Channel, *, keep: int, wake: Callable[[], None]) -> None:
        self._folder = folder
        self._trainer = TrainerServiceStub(trainer)
        self._keep = keep
        self._wake = wake
        self._verified: set[str] = set()
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, _Failure] = {}

    def path(self, digest: str, tasks: asyncio.TaskGroup) -> Path | None:
        """The verified file, or ``None`` while it is being fetched in a task of ``tasks``."""
        path = self._folder / f"{digest}{SUFFIX}"
        if digest in self._verified:
            os.utime(path)
            return path
        failure = self._failures.get(digest)
        waits = failure is not None and time.monotonic() < failure.not_before
        if digest not in self._fetches and not waits:
            self._fetches[digest] = tasks.create_task(self._provide(digest, path), name=f"fetch-{digest[:12]}")
        return None

    def trouble(self, digest: str) -> Trouble | None:
        """Why the last fetch failed; ``None`` when it did not."""
        failure = self._failures.get(digest)
        return None if failure is None else failure.trouble

    def forgive(self, digest: str) -> None:
        """Try again at once."""
        self._failures.pop(digest, None)

    def trim(self, in_use: Collection[str]) -> None:
        """Delete the files that were not used for longest, and what a crash left half-fetched."""
        if not self._folder.exists():
            return
        if not self._fetches:
            for part in self._folder.glob(f"*{_PART_SUFFIX}"):
                part.unlink()
        files = {path.stem: path for path in self._folder.glob(f"*{SUFFIX}")}
        idle = sorted((path for digest, path in files.items() if digest not in in_use), key=lambda path: path.stat().st_mtime)
        for path in idle[: max(0, len(idle) - self._keep)]:
            self._verified.discard(path.stem)
            path.unlink()
            log.info("bundle_forgotten", digest=path.stem)

    async def _provide(self, digest: str, path: Path) -> None:
        try:
            if not await asyncio.to_thread(_is_bundle, path, digest):
                await self._fetch(digest, path)
            self._verified.add(digest)
            self._failures.pop(digest, None)
        except (Fault, OSError) as error:
            self._note(digest, error)
        finally:
            del self._fetches[digest]
            self._wake()

    async def _fetch(self, digest: str, path: Path) -> None:
        request = trainer_service_pb2.ReadBundleRequest(bundle_digest=digest)
        part = await asyncio.to_thread(_new_part, self._folder, digest)
        try:
            with part:
                async for reply in stream(self._trainer.ReadBundle, request, deadline_seconds=FETCH_SECONDS):
                    part.write(reply.chunk)
            await asyncio.to_thread(_take_over, Path(part.name), path, digest)
        finally:
            await asyncio.to_thread(Path(part.name).unlink, missing_ok=True)

    def _note(self, digest: str, error: Fault | OSError) -> None:
        before = self._failures.get(digest)
        num_tries = 1 if before is None else before.num_tries + 1
        passing = isinstance(error, NoReadyInstance | Expired)
        said = error.message if isinstance(error, Fault) else str(error)
        trouble = Trouble(Reason.MODEL_UNAVAILABLE, f"The model's bundle cannot be had: {said}", lasting=not passing)
        delay = growing_delay(num_tries, maximum_seconds=MAX_DELAY_SECONDS)
        self._failures[digest] = _Failure(trouble, num_tries, time.monotonic() + delay)
        log.warning("bundle_missing", digest=digest, error=said, tries=num_tries)


def _new_part(folder: Path, digest: str) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.NamedTemporaryFile(prefix=f"{digest}-", suffix=_PART_SUFFIX, dir=folder, delete=False)


def _take_over(part: Path, path: Path, digest: str) -> None:
    bundle = open_bundle(part)
    if bundle.digest != digest:
        raise BundleInvalid(f"The trainer sent the bundle {bundle.digest} in place of {digest}.", bundle=digest)
    part.replace(path)
    log.info("bundle_fetched", digest=digest, size_bytes=bundle.size_bytes)


def _is_bundle(path: Path, digest: str) -> bool:
    if not path.exists():
        return False
    try:
        return open_bundle(path).digest == digest
    except BundleInvalid as fault:
        log.warning("cached_bundle_damaged", digest=digest, error=fault.message)
        return False
