"""Labels of a dataset or a version as a ZIP in any format, written while it is sent."""

import asyncio
import contextlib
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from libs.ocrkit.labels.format import Format, Writer
from libs.ocrkit.labels.formats.all_formats import format_of
from libs.ocrkit.labels.holding import Loss, reduce_page
from libs.ocrkit.labels.page import Page
from libs.runtime.errors import Fault
from libs.runtime.names import DATASET, VERSION
from libs.runtime.object_store import ObjectStore
from services.dataset.domain import Dataset
from services.dataset.store import Work
from services.dataset.stores import Stores
from services.dataset.transfer.export_pages import Exported, current_pages, frozen_pages
from services.dataset.transfer.export_target import ZipTarget
from services.dataset.transfer.label_sources import Asking, StoredFiles, staging_folder
from services.dataset.transfer.zip_writer import ZipWriter
from services.dataset.versions.version import Version

PIECE_BYTES: Final = 512 * 1024
MAX_FAILURES: Final = 100
REPORT_NAME: Final = "export-report.csv"
_AHEAD: Final = 4
"""Pieces that wait for a slow reader."""
_DRAIN_SECONDS: Final = 0.05


@dataclass
class ExportReport:
    """What was written, and what the format has no field for."""

    num_pages: int = 0
    num_boxes: int = 0
    num_unlabeled: int = 0
    num_failed: int = 0
    failures: list[str] = field(default_factory=list)
    losses: Counter[Loss] = field(default_factory=Counter)

    def fail(self, message: str) -> None:
        """An image whose labels were left out; the first hundred are told of."""
        self.num_failed += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(message)


class _Left(Exception):
    """Nobody reads the ZIP any more."""


class LabelExport:
    """One export; ``report`` is whole when the last chunk was given."""

    def __init__(
        self, work: Work, store: ObjectStore, dataset: Dataset, version: Version | None, to_format: Format, *, with_images: bool
    ) -> None:
        self.report = ExportReport()
        self._work, self._store, self._dataset, self._version = work, store, dataset, version
        self._format = to_format
        self._with_images = with_images
        self._is_left = False

    @classmethod
    async def open(cls, work: Work, stores: Stores, name: str, format_key: str, *, with_images: bool) -> "LabelExport":
        """Prepare an export of a dataset, or of a version.

        Raises:
            NotFound: no such dataset or version.
            InvalidInput: an unknown format.
        """
        to_format = format_of(format_key)
        ids = VERSION.parse(name) if "/versions/" in name else DATASET.parse(name)
        async with work(read_only=True) as w:
            dataset = await w.datasets.get(DATASET.format(project=ids["project"], dataset=ids["dataset"]))
            version = await w.versions.get(dataset, ids["version"]) if "version" in ids else None
        return cls(work, await stores.open(dataset.place), dataset, version, to_format, with_images=with_images)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The ZIP.

        Raises:
            Fault: the store cannot be read at all.
        """
        asking = Asking()
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        # A thread of its own: a slow reader must not keep one that all others wait for.
        executor = ThreadPoolExecutor(1, thread_name_prefix="label-export")

        async def write() -> None:
            try:
                await asyncio.get_running_loop().run_in_executor(executor, self._write, asking, pieces)
            finally:
                await pieces.put(None)

        writing = asyncio.create_task(write(), name="label-export")
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await writing
        finally:
            self._is_left = True
            while not writing.done():
                while not pieces.empty():
                    pieces.get_nowait()
                await asyncio.wait({writing}, timeout=_DRAIN_SECONDS)
            if not writing.cancelled():
                writing.exception()
            executor.shutdown(wait=False)

    def _write(self, asking: Asking, pieces: "asyncio.Queue[bytes | None]") -> None:
        held = bytearray()

        def flush() -> None:
            if self._is_left:
                raise _Left
            asking(pieces.put(bytes(held)))
            held.clear()

        def out(data: bytes) -> None:
            held.extend(data)
            if len(held) >= PIECE_BYTES:
                flush()

        with staging_folder() as folder, contextlib.suppress(_Left):
            zipped = ZipWriter(out)
            target = ZipTarget(zipped, self._dataset.dataset_id)
            images = StoredFiles(self._store, "", asking, Path(folder))
            writer = self._format.writer(target)
            for one in self._pages(asking):
                self._add(one, writer, target, images)
            writer.close()
            zipped.add(REPORT_NAME, io.BytesIO(self._told().encode()), is_packed=True)
            zipped.close()
            flush()

    def _pages(self, asking: Asking) -> Iterator[Exported]:
        if self._version is not None:
            checks_images = self._with_images or self._format.holds.place == "crop"
            return frozen_pages(self._work, self._store, self._version, asking, checks_images=checks_images)
        return current_pages(self._work, self._store, self._dataset, asking)

    def _add(self, one: Exported, writer: Writer, target: ZipTarget, images: StoredFiles) -> None:
        """A page, and its image after it: beside labels that could not be written it might be taken for that of others."""
        if one.failure:
            self.report.fail(one.failure)
            return
        try:
            if one.page is None:
                self.report.num_unlabeled += 1
            else:
                self._add_page(one.page, writer, images)
            if self._with_images and self._format.holds.place == "page":
                with images.open(one.key) as image:
                    target.add_image(one.key, image)
        except Fault as fault:
            self.report.fail(f"{one.key}: {fault.message}")
        except OSError as error:
            self.report.fail(f"{one.key} cannot be read: {error.strerror or error}.")

    def _add_page(self, whole: Page, writer: Writer, images: StoredFiles) -> None:
        page, lost = reduce_page(whole, self._format.holds)
        writer.add(page, images)
        self.report.num_pages += 1
        self.report.num_boxes += len(page.boxes)
        self.report.losses += lost

    def _told(self) -> str:
        """The report as it lies in the ZIP, of a kind that no reader takes for labels."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("what", "count"))
        rows.writerows((name, getattr(self.report, name)) for name in ("num_pages", "num_boxes", "num_unlabeled", "num_failed"))
        rows.writerows((f"lost: {loss.value}", self.report.losses[loss]) for loss in sorted(self.report.losses))
        rows.writerows((f"failed: {message}", 1) for message in self.report.failures)
        return text.getvalue()
