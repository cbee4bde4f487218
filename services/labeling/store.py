"""Queries over the tables of the labeling service; rows never leave this file."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, tuple_
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.db import UnitOfWork, WorkFactory
from libs.runtime.errors import NotFound
from libs.runtime.names import PAGE, PRELABEL
from libs.runtime.paging import Cursor
from libs.runtime.paging import Page as ListPage
from services.labeling.convert import boxes_from_bytes, boxes_to_bytes, operation_from_bytes, operation_to_bytes
from services.labeling.domain import Edit, Logged, Page, PageState, WantedPages
from services.labeling.fold import Content
from services.labeling.prelabel import Prelabel, PrelabelState
from services.labeling.rows import METADATA, ContentRow, OperationRow, PageRow, PrelabelItemRow, PrelabelRow
from services.labeling.trash_store import Trash

__all__ = ["METADATA", "LabelingWork", "Pages", "Prelabels", "Work"]

_PAGE, _OPERATION, _PRELABEL, _ITEM = (METADATA.tables[name].c for name in ("page", "operation", "prelabel", "prelabel_item"))


class Pages:
    """Pages, their content and their operations."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, name: str, *, lock: bool = False) -> Page:
        """The page of this name; with ``lock`` nobody else changes it before this unit ends.

        Raises:
            NotFound: there is none.
        """
        ids = PAGE.parse(name)
        found = await self.many(ids["project"], ids["dataset"], [ids["image"]], lock=lock)
        if not found:
            raise NotFound(f"There is no page {name}; list the pages of its dataset.", name=name)
        return found[ids["image"]]

    async def many(self, project: str, dataset_id: str, image_ids: Sequence[str], *, lock: bool = False) -> dict[str, Page]:
        """Those of the images that have one, by image id."""
        query = select(PageRow).where(*_of(project, dataset_id), _PAGE.image_id.in_(image_ids))
        rows = (await self._session.exec(query.with_for_update() if lock else query)).all()
        return {row.image_id: _page(row) for row in rows}

    async def content(self, page: Page) -> Content:
        """What stands on it."""
        row = await self._session.get_one(ContentRow, page.uid)
        return Content(boxes_from_bytes(row.boxes), frozenset(row.used_ids))

    async def save(self, edit: Edit) -> None:
        """Save a new or changed page with its content and the operations that made it so."""
        page = edit.page
        row = await self._session.get(PageRow, page.uid)
        if row is None:
            self._session.add(PageRow(**asdict(page)))
            # The other tables' foreign keys need the row to be there first.
            await self._session.flush()
            self._session.add(
                ContentRow(page_uid=page.uid, boxes=boxes_to_bytes(edit.content.boxes), used_ids=sorted(edit.content.used_ids))
            )
        else:
            for field, value in asdict(page).items():
                setattr(row, field, value)
            if edit.logged:
                content = await self._session.get_one(ContentRow, page.uid)
                for field, value in _content_fields(edit.content).items():
                    setattr(content, field, value)
        if edit.logged:
            await self._session.exec(insert(OperationRow), params=[_operation_fields(page, logged) for logged in edit.logged])

    async def known_operations(self, page: Page, operation_ids: Sequence[str]) -> set[str]:
        """Those of the ids that the page has already."""
        where = (_OPERATION.page_uid == page.uid) & _OPERATION.operation_id.in_(operation_ids)
        return set((await self._session.exec(select(_OPERATION.operation_id).where(where))).all())

    async def operations(self, page: Page, *, after_sequence: int, size: int) -> list[Logged]:
        """Oldest first."""
        where = (_OPERATION.page_uid == page.uid) & (_OPERATION.sequence > after_sequence)
        rows = (await self._session.exec(select(OperationRow).where(where).order_by(_OPERATION.sequence).limit(size))).all()
        return [Logged(row.sequence, row.actor, row.create_time, operation_from_bytes(row.data)) for row in rows]

    async def page(self, project: str, dataset_id: str, wanted: WantedPages, *, size: int, after: Cursor) -> ListPage[Page]:
        """In key order, or the least certain first."""
        conditions = _of(project, dataset_id)
        conditions.append(_PAGE.state == wanted.state if wanted.state else _PAGE.state != PageState.CLOSED)
        if wanted.editor:
            conditions.append(_PAGE.last_editor == wanted.editor)
        by_confidence = wanted.max_confidence is not None
        order = (_PAGE.lowest_confidence, _PAGE.key) if by_confidence else (_PAGE.key,)
        if by_confidence:
            conditions.append(_PAGE.lowest_confidence <= wanted.max_confidence)
        if after:
            conditions.append(tuple_(*order) > ((float(after[0]), after[1]) if by_confidence else (after[0],)))
        rows = list((await self._session.exec(select(PageRow).where(*conditions).order_by(*order).limit(size + 1))).all())
        pages = [_page(row) for row in rows[:size]]
        if len(rows) <= size:
            return ListPage(pages, None)
        last = pages[-1]
        return ListPage(pages, (repr(last.lowest_confidence), last.key) if by_confidence else (last.key,))

    async def count(self, project: str, dataset_id: str) -> int:
        """Pages that are not closed."""
        query = select(func.count()).select_from(PageRow).where(*_of(project, dataset_id), _PAGE.state != PageState.CLOSED)
        number: int = (await self._session.exec(query)).one()
        return number


class Prelabels:
    """Runs of models and the pages they still have to read."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, name: str, *, lock: bool = False) -> Prelabel:
        """The run of this name; with ``lock`` nobody else changes it before this unit ends.

        Raises:
            NotFound: there is none.
        """
        ids = PRELABEL.parse(name)
        row = await self._session.get(PrelabelRow, ids["prelabel"], with_for_update=lock or None)
        if row is None or (row.project, row.dataset_id) != (ids["project"], ids["dataset"]):
            raise NotFound(f"There is no run {name}; list the runs of its dataset.", name=name)
        return _prelabel(row)

    async def created_by(self, project: str, dataset_id: str, request_id: str) -> Prelabel | None:
        """What an earlier call with this request id created."""
        if not request_id:
            return None
        where = (_PRELABEL.project == project) & (_PRELABEL.dataset_id == dataset_id) & (_PRELABEL.request_id == request_id)
        row = (await self._session.exec(select(PrelabelRow).where(where))).one_or_none()
        return _prelabel(row) if row else None

    async def running(self) -> list[Prelabel]:
        """Runs that have not ended, oldest first."""
        query = select(PrelabelRow).where(_PRELABEL.state == PrelabelState.RUNNING).order_by(_PRELABEL.prelabel_id)
        return [_prelabel(row) for row in (await self._session.exec(query)).all()]

    async def page(self, project: str, dataset_id: str, *, size: int, after: Cursor) -> ListPage[Prelabel]:
        """Newest first."""
        query = select(PrelabelRow).where(_PRELABEL.project == project, _PRELABEL.dataset_id == dataset_id)
        if after:
            query = query.where(_PRELABEL.prelabel_id < after[0])
        rows = list((await self._session.exec(query.order_by(_PRELABEL.prelabel_id.desc()).limit(size + 1))).all())
        return ListPage([_prelabel(row) for row in rows[:size]], (rows[size - 1].prelabel_id,) if len(rows) > size else None)

    def add(self, prelabel: Prelabel, *, request_id: str) -> None:
        """A new one."""
        self._session.add(PrelabelRow(request_id=request_id or None, **asdict(prelabel)))

    async def put(self, prelabel: Prelabel) -> None:
        """Save changes of one that is there."""
        row = await self._session.get_one(PrelabelRow, prelabel.prelabel_id)
        for field, value in asdict(prelabel).items():
            setattr(row, field, value)

    async def plan(self, prelabel: Prelabel) -> int:
        """Choose the pages that are EMPTY now.

        Returns:
            How many there are.
        """
        empty = select(_PAGE.image_id).where(*_of(prelabel.project, prelabel.dataset_id), _PAGE.state == PageState.EMPTY)
        image_ids = list((await self._session.exec(empty)).all())
        if image_ids:
            items = [{"prelabel_id": prelabel.prelabel_id, "image_id": image_id} for image_id in image_ids]
            await self._session.exec(insert(PrelabelItemRow), params=items)
        return len(image_ids)

    async def items(self, prelabel: Prelabel, *, size: int) -> list[str]:
        """Image ids still to be read, at most ``size``."""
        query = select(_ITEM.image_id).where(_ITEM.prelabel_id == prelabel.prelabel_id).order_by(_ITEM.image_id).limit(size)
        return list((await self._session.exec(query)).all())

    async def finish_item(self, prelabel: Prelabel, image_id: str) -> bool:
        """Take a page off the list; False when it was not on it."""
        where = (_ITEM.prelabel_id == prelabel.prelabel_id) & (_ITEM.image_id == image_id)
        return bool((await self._session.exec(delete(PrelabelItemRow).where(where).returning(_ITEM.image_id))).all())


class LabelingWork(UnitOfWork):
    """One transaction of the labeling service."""

    service = "labeling"
    metadata = METADATA

    @cached_property
    def pages(self) -> Pages:
        """Pages."""
        return Pages(self.session)

    @cached_property
    def trash(self) -> Trash:
        """Datasets in the trash."""
        return Trash(self.session)

    @cached_property
    def prelabels(self) -> Prelabels:
        """Runs of models."""
        return Prelabels(self.session)


Work = WorkFactory[LabelingWork]


def _of(project: str, dataset_id: str) -> list[ColumnElement[bool]]:
    return [_PAGE.project == project, _PAGE.dataset_id == dataset_id]


def _page(row: PageRow) -> Page:
    values = {field.name: getattr(row, field.name) for field in fields(Page)}
    return Page(**(values | {"state": PageState(row.state)}))


def _prelabel(row: PrelabelRow) -> Prelabel:
    values = {field.name: getattr(row, field.name) for field in fields(Prelabel)}
    return Prelabel(**(values | {"state": PrelabelState(row.state)}))


def _content_fields(content: Content) -> dict[str, Any]:
    return {"boxes": boxes_to_bytes(content.boxes), "used_ids": sorted(content.used_ids)}


def _operation_fields(page: Page, logged: Logged) -> dict[str, Any]:
    return {
        "page_uid": page.uid,
        "sequence": logged.sequence,
        "operation_id": logged.operation.operation_id,
        "actor": logged.actor,
        "create_time": logged.create_time,
        "data": operation_to_bytes(logged.operation),
    }
