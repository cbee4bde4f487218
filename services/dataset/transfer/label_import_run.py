"""One import of labels, from where it stands to its end."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from inkwright.dataset.v1.dataset_events_pb2 import ImageChanged
from libs.ocrkit.labels.format import Format, LabelFile
from libs.ocrkit.labels.formats.all_formats import format_of
from libs.ocrkit.labels.page import Page, ReadOptions, Row
from libs.ocrkit.labels.reading import guess_format, label_files, read_label_file
from libs.ocrkit.labels.source import Source
from libs.ocrkit.labels.voc_writer import write_voc
from libs.runtime.errors import Fault
from libs.runtime.object_store import ObjectStore
from services.dataset.domain import Dataset
from services.dataset.image import Finding, Image, ImageLabels, Severity, image_id_of
from services.dataset.indexing.examine import read_with_etag
from services.dataset.label_actions import put_label_file, taken_over, with_label_key
from services.dataset.label_file import finding_from_file
from services.dataset.rows import MAX_KEY
from services.dataset.store import Work
from services.dataset.transfer.label_images import AMBIGUOUS, MISSING, REJECTED, IndexedImages
from services.dataset.transfer.label_import import MAX_FINDINGS, ImportCursor, ImportRow, ImportState, LabelImport, Outcome
from services.dataset.transfer.label_sources import Asking, StoredFiles, UploadedFile, UploadedZip, is_zip, staging_folder

BATCH: Final = 100
"""Rows a transaction."""


@dataclass(frozen=True)
class _Done:
    """A row, and what was written for it."""

    row: ImportRow
    image: Image | None = None
    labels: ImageLabels | None = None


class ImportRun:
    """Reads label files row by row and writes what they say beside the images; every batch of rows is one transaction.

    A process that is killed between a file and its transaction leaves a file in the very words the next process would write, which
    is then found to be there.
    """

    def __init__(self, work: Work, store: ObjectStore, dataset: Dataset, current: LabelImport) -> None:
        self._work, self._store, self._dataset, self._import = work, store, dataset, current

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until all is read, somebody ends it, or ``stopping`` is set.

        Raises:
            Fault: nothing of it can be read, or the store refuses.
        """
        with staging_folder() as folder:
            asking = Asking()
            source = await self._source(Path(folder), asking)
            label_format = await asyncio.to_thread(self._format, source)
            images = IndexedImages(self._work, self._dataset.uid, asking)
            rows = _rows(source, label_format, images, self._import.cursor)
            while not stopping.is_set():
                batch = await asyncio.to_thread(_some, rows)
                if not await self._do(batch, label_format.key) or len(batch) < BATCH:
                    return

    async def _source(self, folder: Path, asking: Asking) -> Source:
        if self._import.prefix:
            return StoredFiles(self._store, self._import.prefix, asking, folder)
        path = folder / "upload"
        with path.open("wb") as file:
            async with self._work(read_only=True) as w:
                async for part in w.label_imports.parts(self._import.uid):
                    file.write(part)
        if is_zip(path):
            return await asyncio.to_thread(UploadedZip, path, folder)
        return UploadedFile(path, self._import.file_name)

    def _format(self, source: Source) -> Format:
        return format_of(self._import.format) if self._import.format else guess_format(source)

    async def _do(self, batch: Sequence[tuple[ImportCursor, Row]], format_key: str) -> bool:
        """Write labels, then remember all of it at once. Returns whether to go on."""
        ids = {image_id_of(row.name) for _, row in batch if row.page is not None}
        async with self._work(read_only=True) as w:
            images = await w.images.many(self._dataset.uid, sorted(ids))
            twice = await w.label_imports.written(self._import.uid, sorted(ids))
        done: list[_Done] = []
        for number, (_, row) in enumerate(batch, start=self._import.counts.num_rows + 1):
            one = await self._do_row(number, row, images, twice)
            if one.row.outcome in (Outcome.IMPORTED, Outcome.REPAIRED):
                twice.add(one.row.image_id)
            done.append(one)
        return await self._remember(done, batch[-1][0] if batch else self._import.cursor, format_key, is_last=len(batch) < BATCH)

    async def _do_row(self, number: int, row: Row, images: dict[str, Image], twice: set[str]) -> _Done:
        findings = [finding_from_file(finding) for finding in row.findings]
        page, image = row.page, images.get(image_id_of(row.name)) if row.page is not None else None
        if page is None or image is None:
            codes = {finding.code for finding in row.findings}
            outcome = Outcome.IMAGE_MISSING if MISSING in codes or page is not None else Outcome.FAILED
            outcome = Outcome.SKIPPED if codes & {AMBIGUOUS, REJECTED} else outcome
            return _Done(_row(number, outcome, row, "", findings))
        refusal: Finding | None = None
        labels: ImageLabels | None = None
        if image.image_id in twice:
            refusal = _skipped("LABELED_TWICE", f"{image.key} was labelled by an earlier row of this import; these labels were left out.")
        elif image.shares_label_with:
            others = ", ".join(image.shares_label_with)
            refusal = _skipped("LABEL_SHARED", f"{image.key} and {others} would share one label file; give each image a name of its own.")
        else:
            try:
                labels = await self._write(with_label_key(image), page)
            except _HasLabels as has_labels:
                refusal = has_labels.finding
            except Fault as fault:
                refusal = _skipped(fault.reason, fault.message)
            except OSError as error:
                refusal = _skipped("NOT_WRITTEN", f"{image.key}: the label file could not be written ({error.strerror or error}).")
        if refusal is not None:
            return _Done(_row(number, Outcome.SKIPPED, row, image.image_id, [*findings, refusal]))
        is_repaired = row.outcome in ("repaired", "skipped")
        outcome = Outcome.REPAIRED if is_repaired else Outcome.IMPORTED
        return _Done(_row(number, outcome, row, image.image_id, findings, num_boxes=len(page.boxes)), with_label_key(image), labels)

    async def _write(self, image: Image, page: Page) -> ImageLabels | None:
        """Write a page's file; None when nothing shall be written.

        Raises:
            _HasLabels: other labels lie there and stay.
            Fault: the store refuses, or the file changed meanwhile.
        """
        found = await read_with_etag(self._store, image.label_key)
        previous = page.voc if page.voc is not None else found[0] if found and self._import.overwrite else None
        data = await asyncio.to_thread(
            write_voc,
            page.boxes,
            filename=image.key.rpartition("/")[2],
            width_px=image.width_px,
            height_px=image.height_px,
            previous=previous,
            confirmed=page.confirmed,
        )
        if found is not None and found[0] != data and not self._import.overwrite:
            message = f"{image.label_key} is there already and was left as it is; import with overwrite to replace it (it is kept)."
            raise _HasLabels(_skipped("HAS_LABELS", message))
        if self._import.dry_run:
            return None
        return await put_label_file(self._work, self._store, self._dataset, image, found, data, may_replace=self._import.overwrite)

    async def _remember(self, done: Sequence[_Done], cursor: ImportCursor, format_key: str, *, is_last: bool) -> bool:
        async with self._work() as w:
            dataset = await w.datasets.find(self._dataset.uid, lock=True)
            current = await w.label_imports.find(self._import.uid, lock=True)
            if dataset is None or current is None:
                return False
            rows = await w.images.many(dataset.uid, [one.image.image_id for one in done if one.image and one.labels])
            for one in done:
                old = rows.get(one.row.image_id)
                if old is None or one.image is None or one.labels is None:
                    continue
                dataset, new = await taken_over(w, dataset, old, one.labels, label_key=one.image.label_key)
                if new.label_digest != old.label_digest:
                    fact = ImageChanged(image=dataset.image_name(new.image_id), store_etag=new.store_etag, label_digest=new.label_digest)
                    w.tell(fact, resource="image", id=new.image_id)
            await w.datasets.put(dataset)
            await w.label_imports.add_rows(current.uid, [one.row for one in done])
            current = replace(current.with_rows([one.row for one in done], cursor, at=w.now), format=format_key)
            if is_last:
                current = current.ended(ImportState.SUCCEEDED, at=w.now)
                await w.label_imports.remove_parts(current.uid)
            await w.label_imports.put(current)
            await w.commit()
        self._import = current
        return not current.has_ended


class _HasLabels(Exception):
    """Other labels lie beside the image."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def _rows(source: Source, label_format: Format, images: IndexedImages, cursor: ImportCursor) -> Iterator[tuple[ImportCursor, Row]]:
    """Rows behind a cursor, each with the cursor behind it."""
    for name in label_files(source, label_format):
        if name < cursor.label_file:
            continue
        num_done = cursor.num_rows if name == cursor.label_file else 0
        for number, row in enumerate(read_label_file(label_format, LabelFile(name, source, images, ReadOptions())), start=1):
            if number > num_done:
                yield ImportCursor(name, number), row


def _some(rows: Iterator[tuple[ImportCursor, Row]]) -> list[tuple[ImportCursor, Row]]:
    return [one for _, one in zip(range(BATCH), rows, strict=False)]


def _skipped(code: str, message: str) -> Finding:
    return Finding(Severity.SKIPPED, code, message)


def _row(number: int, outcome: Outcome, row: Row, image_id: str, findings: Sequence[Finding], *, num_boxes: int = 0) -> ImportRow:
    told = list(findings[:MAX_FINDINGS])
    if len(findings) > MAX_FINDINGS:
        told.append(_skipped("MORE_FINDINGS", f"{len(findings) - MAX_FINDINGS} further findings are not listed."))
    return ImportRow(number, outcome, image_id, row.name[:MAX_KEY], row.label_name[:MAX_KEY], num_boxes, tuple(told))
