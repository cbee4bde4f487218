"""Whether images can be read from a place, step by step, before anything depends on it. Nothing is written."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from libs.runtime.errors import Fault
from libs.runtime.logs import get_logger
from libs.runtime.object_store import ObjectInfo, ObjectStore
from services.dataset.domain import Place
from services.dataset.image import MAX_IMAGE_BYTES, Image, ImageState, LabelState, Severity, image_id_of
from services.dataset.indexing.examine import read_labels
from services.dataset.indexing.measure import measure
from services.dataset.pairing import Candidate, pair
from services.dataset.stores import Stores

log = get_logger()

TIME_SECONDS: Final = 20.0
"""For all steps together: whoever waits for the answer waits no longer than half a minute."""
MAX_PAGES: Final = 10
"""Of the listing, looked through for the first image."""


class StepKind(StrEnum):
    """See ``ConnectionStep.Kind`` in the proto; in the order they are taken."""

    LIST = "LIST"
    READ_IMAGE = "READ_IMAGE"
    READ_LABELS = "READ_LABELS"


class StepResult(StrEnum):
    """See ``ConnectionStep.Result`` in the proto."""

    OK = "OK"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class Step:
    """What one step found; ``reason`` is that of a fault."""

    kind: StepKind
    result: StepResult
    message: str
    reason: str = ""
    seconds: float = 0.0


class _Skipped(Exception):
    """There is nothing to try a step on; the text says why."""


class _Failed(Exception):
    """A step found something wrong that is no fault of the store's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def check_connection(stores: Stores, place: Place) -> list[Step]:
    """List, read an image and decode it, read its label file. What goes wrong is part of the answer."""
    check = _Check(stores, place)
    takes: dict[StepKind, Callable[[], Awaitable[str]]] = {
        StepKind.LIST: check.list,
        StepKind.READ_IMAGE: check.read_image,
        StepKind.READ_LABELS: check.read_labels,
    }
    end = time.monotonic() + TIME_SECONDS
    return [await _take(kind, take, end - time.monotonic()) for kind, take in takes.items()]


class _Check:
    """What the steps hand on to each other."""

    def __init__(self, stores: Stores, place: Place) -> None:
        self._stores = stores
        self._place = place
        self._store: ObjectStore | None = None
        self._candidate: Candidate | None = None
        self._size_px = 0, 0

    async def list(self) -> str:
        """Look for the first images."""
        self._store = await self._stores.open(self._place)
        items: list[ObjectInfo] = []
        candidates: list[Candidate] = []
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._store.list(after=after)
            items += page.items
            after = page.next_after
            candidates = pair(items)
            if candidates or after is None:
                break
        some = f"the first {len(items)} files" if after is not None else f"{len(items)} files"
        if not candidates:
            raise _Failed(
                "NO_IMAGES", f"No JPG, PNG or BMP image is among {some} below {self._place.path}; put images there, or correct the path."
            )
        # One with labels tries more.
        self._candidate = next((one for one in candidates if one.label), candidates[0])
        num_labels = sum(one.label is not None for one in candidates)
        return f"{len(candidates)} images, {num_labels} of them with label files, among {some}."

    async def read_image(self) -> str:
        """Read an image and decode it."""
        store, file = self._found()
        if file.size_bytes > MAX_IMAGE_BYTES:
            raise _Skipped(f"{file.key} has {file.size_bytes} bytes, more than an image may have.")
        data = await store.read(file.key)
        pixels = await asyncio.to_thread(measure, data)
        for finding in pixels.findings:
            if finding.severity is Severity.REJECTED:
                raise _Failed(finding.code, f"{file.key} was read, but cannot be used: {finding.message}")
        self._size_px = pixels.width_px, pixels.height_px
        return f"{file.key}: {len(data)} bytes, {pixels.width_px} x {pixels.height_px} pixels."

    async def read_labels(self) -> str:
        """Read the image's label file."""
        store, file = self._found()
        label = self._candidate.label if self._candidate else None
        if label is None:
            raise _Skipped("No label file lies beside an image that was looked at.")
        width_px, height_px = self._size_px
        if not width_px:
            raise _Skipped(f"{label.key} is measured against its image, which was not read.")
        image = Image(
            image_id_of(file.key),
            file.key,
            ImageState.USABLE,
            LabelState.UNLABELED,
            width_px,
            height_px,
            file.size_bytes,
            file.etag,
            label_key=label.key,
        )
        labels = await read_labels(store, image)
        for finding in labels.findings:
            if finding.severity is Severity.REJECTED:
                raise _Failed(finding.code, f"{label.key} was read, but cannot be used: {finding.message}")
        return f"{label.key}: {len(labels.boxes)} boxes."

    def _found(self) -> tuple[ObjectStore, ObjectInfo]:
        if self._store is None or self._candidate is None:
            raise _Skipped("No image was found to try it on.")
        return self._store, self._candidate.image


async def _take(kind: StepKind, take: Callable[[], Awaitable[str]], seconds_left: float) -> Step:
    began = time.monotonic()

    def ended(result: StepResult, message: str, reason: str = "") -> Step:
        return Step(kind, result, message, reason, round(time.monotonic() - began, 3))

    if seconds_left <= 0:
        return ended(StepResult.SKIPPED, "The steps before took all the time there is.")
    try:
        async with asyncio.timeout(seconds_left):
            return ended(StepResult.OK, await take())
    except _Skipped as why:
        return ended(StepResult.SKIPPED, str(why))
    except _Failed as failed:
        return ended(StepResult.FAILED, str(failed), failed.reason)
    except Fault as fault:
        return ended(StepResult.FAILED, fault.message, fault.reason)
    except TimeoutError:
        return ended(
            StepResult.FAILED, f"No answer within {TIME_SECONDS:.0f} s; check the network and the connection's endpoint.", "EXPIRED"
        )
    except OSError as error:
        return ended(StepResult.FAILED, f"It could not be read ({error.strerror or error}); repair that, then try again.", "INVALID_INPUT")
