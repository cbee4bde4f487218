"""Queries over imports of labels."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.errors import NotFound
from libs.runtime.names import LABEL_IMPORT
from libs.runtime.paging import Cursor, Page
from services.dataset.domain import Dataset
from services.dataset.image import Finding, Severity
from services.dataset.rows import METADATA
from services.dataset.transfer.label_import import ImportCounts, ImportCursor, ImportRow, ImportState, LabelImport, Outcome
from services.dataset.transfer.rows import LabelImportedRow, LabelImportPartRow, LabelImportRow

_IMPORT, _PART, _ROW = (METADATA.tables[name].c for name in ("label_import", "label_import_part", "label_import_row"))


class LabelImports:
    """Imports of labels, what was uploaded for them, and their rows."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, dataset: Dataset, uid: str) -> LabelImport:
        """One import.

        Raises:
            NotFound: the dataset has no such import.
        """
        found = await self.find(uid)
        if found is None or found.dataset_uid != dataset.uid:
            name = LABEL_IMPORT.format(project=dataset.project, dataset=dataset.dataset_id, label_import=uid)
            raise NotFound(f"There is no import {name}; list the imports of the dataset to see their names.", name=name)
        return found

    async def find(self, uid: str, *, lock: bool = False) -> LabelImport | None:
        """The import with this uid; None once its dataset was deleted."""
        query = select(LabelImportRow).where(_IMPORT.uid == uid)
        row = (await self._session.exec(query.with_for_update() if lock else query)).one_or_none()
        return _import(row) if row else None

    async def created_by(self, dataset: Dataset, request_id: str) -> LabelImport | None:
        """What an earlier call with this request id created."""
        if not request_id:
            return None
        query = select(LabelImportRow).where((_IMPORT.dataset_uid == dataset.uid) & (_IMPORT.request_id == request_id))
        row = (await self._session.exec(query)).one_or_none()
        return _import(row) if row else None

    async def page(self, dataset: Dataset, *, size: int, after: Cursor) -> Page[LabelImport]:
        """Newest first."""
        query = select(LabelImportRow).where(_IMPORT.dataset_uid == dataset.uid).order_by(_IMPORT.uid.desc())
        if after:
            query = query.where(_IMPORT.uid < after[0])
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_import(row) for row in rows[:size]], (rows[size - 1].uid,) if len(rows) > size else None)

    async def unfinished(self) -> list[str]:
        """Uids of imports that are to be done, the oldest first."""
        query = select(_IMPORT.uid).where(_IMPORT.state == ImportState.RUNNING).order_by(_IMPORT.uid)
        return list((await self._session.exec(query)).all())

    async def remove_abandoned(self, before: datetime) -> None:
        """Forget uploads that broke off with the process that received them."""
        where = (_IMPORT.state == ImportState.UPLOADING) & (_IMPORT.update_time < before)
        await self._session.exec(delete(LabelImportRow).where(where))

    def add(self, new: LabelImport, *, request_id: str) -> None:
        """A new one."""
        self._session.add(LabelImportRow(request_id=request_id or None, **_values(new)))

    async def put(self, changed: LabelImport) -> None:
        """Save changes of one that is there."""
        row = await self._session.get_one(LabelImportRow, changed.uid)
        for field, value in _values(changed).items():
            setattr(row, field, value)

    async def remove(self, uid: str) -> None:
        """Forget one."""
        await self._session.exec(delete(LabelImportRow).where(_IMPORT.uid == uid))

    async def remove_all(self, dataset_uid: str) -> None:
        """Forget all of a dataset."""
        await self._session.exec(delete(LabelImportRow).where(_IMPORT.dataset_uid == dataset_uid))

    async def add_part(self, uid: str, number: int, data: bytes) -> None:
        """A piece of the uploaded file."""
        await self._session.exec(insert(LabelImportPartRow).values(import_uid=uid, number=number, data=data))

    async def parts(self, uid: str) -> AsyncIterator[bytes]:
        """The uploaded file, a piece at a time."""
        number = 0
        while (data := await self._part(uid, number)) is not None:
            yield data
            number += 1

    async def remove_parts(self, uid: str) -> None:
        """The uploaded file is not needed any more."""
        await self._session.exec(delete(LabelImportPartRow).where(_PART.import_uid == uid))

    async def add_rows(self, uid: str, rows: Sequence[ImportRow]) -> None:
        """What became of some more."""
        if rows:
            await self._session.exec(insert(LabelImportedRow).values([{"import_uid": uid, **asdict(row)} for row in rows]))

    async def rows(self, uid: str, *, size: int, after: Cursor, outcome: Outcome | None) -> Page[ImportRow]:
        """In order of their numbers."""
        query = select(LabelImportedRow).where(_ROW.import_uid == uid).order_by(_ROW.number)
        if outcome:
            query = query.where(_ROW.outcome == outcome)
        if after:
            query = query.where(_ROW.number > int(after[0]))
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_row(row) for row in rows[:size]], (str(rows[size - 1].number),) if len(rows) > size else None)

    async def written(self, uid: str, image_ids: Collection[str]) -> set[str]:
        """Those of the images that the import has written labels of already."""
        done = _ROW.outcome.in_([Outcome.IMPORTED, Outcome.REPAIRED])
        query = select(_ROW.image_id).where((_ROW.import_uid == uid) & _ROW.image_id.in_(image_ids) & done)
        return set((await self._session.exec(query)).all())

    async def _part(self, uid: str, number: int) -> bytes | None:
        query = select(_PART.data).where((_PART.import_uid == uid) & (_PART.number == number))
        return (await self._session.exec(query)).one_or_none()


def _values(one: LabelImport) -> dict[str, Any]:
    values = asdict(one)
    counts, cursor = values.pop("counts"), values.pop("cursor")
    return {**values, **counts, "cursor_file": cursor["label_file"], "cursor_rows": cursor["num_rows"]}


def _import(row: LabelImportRow) -> LabelImport:
    fields = {name: getattr(row, name) for name in LabelImport.__dataclass_fields__ if name not in ("state", "counts", "cursor")}
    counts = ImportCounts(**{name: getattr(row, name) for name in ImportCounts.__dataclass_fields__})
    return LabelImport(state=ImportState(row.state), counts=counts, cursor=ImportCursor(row.cursor_file, row.cursor_rows), **fields)


def _row(row: LabelImportedRow) -> ImportRow:
    return ImportRow(
        number=row.number,
        outcome=Outcome(row.outcome),
        image_id=row.image_id,
        key=row.key,
        label_file=row.label_file,
        num_boxes=row.num_boxes,
        findings=tuple(Finding(Severity(one["severity"]), one["code"], one["message"], one["line"]) for one in row.findings),
    )
