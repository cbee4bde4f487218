"""What callers ask of imports of labels: one function a verb."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from libs.ocrkit.labels.formats.all_formats import format_of
from libs.ocrkit.labels.source import base_of, is_safe_name
from libs.runtime.errors import InvalidInput, NotFound, TooLarge
from libs.runtime.names import DATASET, LABEL_IMPORT, new_id
from libs.runtime.paging import Cursor, Page
from libs.runtime.uploads import MAX_LABELS_BYTES
from services.dataset.domain import Dataset
from services.dataset.store import Work
from services.dataset.transfer.label_import import ImportRow, ImportState, LabelImport, Outcome

PART_BYTES: Final = 1024 * 1024
ABANDONED_AFTER: Final = timedelta(hours=6)
"""An upload that has not ended by then broke off with the process that received it, and is forgotten."""
_MAX_PREFIX: Final = 1_000
_MAX_REQUEST_ID: Final = 64


async def create_label_import(work: Work, dataset_name: str, wanted: LabelImport, *, request_id: str) -> tuple[Dataset, LabelImport]:
    """Begin to import labels that lie in the dataset's folder.

    Raises:
        NotFound: no such dataset.
        InvalidInput: no prefix, an unknown format, a request id that is too long.
    """
    if not wanted.prefix or len(wanted.prefix) > _MAX_PREFIX or "\0" in wanted.prefix:
        message = "Say by `prefix` which files of the dataset's folder are meant, e.g. `labels/Label.txt`; or upload a file."
        raise InvalidInput(message, field="prefix")
    return await _create(work, dataset_name, wanted, ImportState.RUNNING, request_id=request_id)


async def upload_labels(
    work: Work, dataset_name: str, wanted: LabelImport, chunks: AsyncIterator[bytes], *, request_id: str
) -> tuple[Dataset, LabelImport]:
    """Take in a label file or a ZIP of them, and begin to import it. What breaks off leaves nothing behind.

    Raises:
        NotFound: no such dataset.
        InvalidInput: no file name, an unknown format, a request id that is too long, nothing sent.
        TooLarge: more than ``MAX_LABELS_BYTES``.
    """
    if not is_safe_name(wanted.file_name) or base_of(wanted.file_name) != wanted.file_name:
        raise InvalidInput("Give the file's own name, e.g. `Label.txt`, without its folder.", field="file_name")
    dataset, created = await _create(work, dataset_name, wanted, ImportState.UPLOADING, request_id=request_id)
    if created.state is not ImportState.UPLOADING or created.uid != wanted.uid:
        return dataset, created
    try:
        size_bytes = await _receive(work, created.uid, chunks)
        async with work() as w:
            current = await w.label_imports.find(created.uid, lock=True)
            if current is None:
                raise NotFound(f"The dataset {dataset_name} was deleted meanwhile.", name=dataset_name)
            uploaded = current.uploaded(size_bytes, at=w.now)
            await w.label_imports.put(uploaded)
            await w.commit()
    except BaseException:
        async with work() as w:
            await w.label_imports.remove(created.uid)
            await w.commit()
        raise
    return dataset, uploaded


async def get_label_import(work: Work, name: str) -> tuple[Dataset, LabelImport]:
    """Read one.

    Raises:
        NotFound: no such dataset or import.
    """
    ids = LABEL_IMPORT.parse(name)
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(DATASET.format(project=ids["project"], dataset=ids["dataset"]))
        return dataset, await w.label_imports.get(dataset, ids["label_import"])


async def list_label_imports(work: Work, dataset_name: str, *, size: int, after: Cursor) -> tuple[Dataset, Page[LabelImport]]:
    """Newest first.

    Raises:
        NotFound: no such dataset.
    """
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(dataset_name)
        return dataset, await w.label_imports.page(dataset, size=size, after=after)


async def list_label_import_rows(
    work: Work, name: str, *, size: int, after: Cursor, outcome: Outcome | None
) -> tuple[Dataset, Page[ImportRow]]:
    """In order of their numbers.

    Raises:
        NotFound: no such dataset or import.
    """
    dataset, found = await get_label_import(work, name)
    async with work(read_only=True) as w:
        return dataset, await w.label_imports.rows(found.uid, size=size, after=after, outcome=outcome)


async def terminate_label_import(work: Work, name: str) -> tuple[Dataset, LabelImport]:
    """End an import after the rows it is at; one that has ended stays as it is.

    Raises:
        NotFound: no such dataset or import.
    """
    dataset, found = await get_label_import(work, name)
    async with work() as w:
        current = await w.label_imports.find(found.uid, lock=True)
        if current is not None:
            found = current.ended(ImportState.TERMINATED, at=w.now)
            await w.label_imports.put(found)
            await w.label_imports.remove_parts(found.uid)
            await w.commit()
    return dataset, found


def new_import_id() -> str:
    """Sorts by creation time."""
    return new_id("li")


async def _create(
    work: Work, dataset_name: str, wanted: LabelImport, state: ImportState, *, request_id: str
) -> tuple[Dataset, LabelImport]:
    if wanted.format:
        format_of(wanted.format)
    if len(request_id) > _MAX_REQUEST_ID:
        raise InvalidInput(f"The request_id has {len(request_id)} characters; use at most {_MAX_REQUEST_ID}.", field="request_id")
    async with work() as w:
        dataset = await w.datasets.get(dataset_name, lock=True)
        earlier = await w.label_imports.created_by(dataset, request_id)
        if earlier is not None:
            return dataset, earlier
        new = LabelImport(
            uid=wanted.uid,
            dataset_uid=dataset.uid,
            state=state,
            create_time=w.now,
            update_time=w.now,
            format=wanted.format,
            overwrite=wanted.overwrite,
            dry_run=wanted.dry_run,
            prefix=wanted.prefix if state is ImportState.RUNNING else "",
            file_name=wanted.file_name if state is ImportState.UPLOADING else "",
        )
        w.label_imports.add(new, request_id=request_id)
        await w.commit()
    return dataset, new


async def _receive(work: Work, uid: str, chunks: AsyncIterator[bytes]) -> int:
    size_bytes = number = 0
    held = bytearray()

    async def keep(data: bytes) -> None:
        nonlocal number
        async with work() as w:
            await w.label_imports.add_part(uid, number, data)
            await w.commit()
        number += 1

    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > MAX_LABELS_BYTES:
            message = f"The file has more than {MAX_LABELS_BYTES} bytes; pack it as a ZIP, split it, or import from the dataset's folder."
            raise TooLarge(message, max_bytes=MAX_LABELS_BYTES)
        held += chunk
        while len(held) >= PART_BYTES:
            await keep(bytes(held[:PART_BYTES]))
            del held[:PART_BYTES]
    if held:
        await keep(bytes(held))
    if not size_bytes:
        raise InvalidInput("The file is empty; send a label file or a ZIP of label files.")
    return size_bytes
