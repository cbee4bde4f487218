"""Queries over uploads and what became of their files."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, update
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.errors import NotFound
from libs.runtime.names import UPLOAD
from libs.runtime.paging import Cursor, Page
from services.dataset.domain import Dataset
from services.dataset.rows import METADATA
from services.dataset.uploads.rows import UploadResultRow, UploadRow
from services.dataset.uploads.upload import Outcome, Result, Upload, UploadCounts, UploadOptions, UploadSource, UploadState

_UPLOAD, _RESULT, _DATASET = (METADATA.tables[name].c for name in ("upload", "upload_result", "dataset"))
_ENDED = (UploadState.DONE, UploadState.FAILED)


class Uploads:
    """Uploads and their rows."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, dataset: Dataset, upload_id: str, *, lock: bool = False) -> Upload:
        """One upload.

        Raises:
            NotFound: the dataset has no such upload, or not any more.
        """
        upload = await self.find(upload_id, lock=lock)
        if upload is None or upload.dataset_uid != dataset.uid:
            name = UPLOAD.format(project=dataset.project, dataset=dataset.dataset_id, upload=upload_id)
            raise NotFound(f"There is no upload {name}; it may have been idle for too long. Begin a new one.", name=name)
        return upload

    async def find(self, upload_id: str, *, lock: bool = False) -> Upload | None:
        """The upload with this id; None when there is none."""
        query = select(UploadRow).where(_UPLOAD.upload_id == upload_id)
        row = (await self._session.exec(query.with_for_update() if lock else query)).one_or_none()
        return _upload(row) if row else None

    async def begun_by(self, dataset: Dataset, request_id: str) -> Upload | None:
        """What an earlier call with this request id began, while it still receives."""
        if not request_id:
            return None
        where = (_UPLOAD.dataset_uid == dataset.uid) & (_UPLOAD.request_id == request_id)
        row = (await self._session.exec(select(UploadRow).where(where))).one_or_none()
        return _upload(row) if row else None

    async def page(self, dataset: Dataset, *, size: int, after: Cursor) -> Page[Upload]:
        """The newest first."""
        query = select(UploadRow).where(_UPLOAD.dataset_uid == dataset.uid).order_by(_UPLOAD.upload_id.desc())
        if after:
            query = query.where(_UPLOAD.upload_id < after[0])
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        return Page([_upload(row) for row in rows[:size]], (rows[size - 1].upload_id,) if len(rows) > size else None)

    async def results(self, upload_id: str, *, size: int, after: Cursor, result: Result | None) -> Page[Outcome]:
        """What became of each file, in their order."""
        query = select(UploadResultRow).where(_RESULT.upload_id == upload_id).order_by(_RESULT.number)
        if after:
            query = query.where(_RESULT.number > after[0])
        if result is not None:
            query = query.where(_RESULT.result == result)
        rows = list((await self._session.exec(query.limit(size + 1))).all())
        outcomes = [Outcome(row.source, Result(row.result), row.key, row.reason, row.message) for row in rows[:size]]
        return Page(outcomes, (rows[size - 1].number,) if len(rows) > size else None)

    async def to_process(self) -> list[str]:
        """Ids of those whose bytes are all there, the oldest first; not of datasets in the trash."""
        trashed = select(_DATASET.uid).where(_DATASET.trash_time.is_not(None))
        is_due = (_UPLOAD.state == UploadState.PROCESSING) & _UPLOAD.dataset_uid.not_in(trashed)
        query = select(_UPLOAD.upload_id).where(is_due).order_by(_UPLOAD.update_time)
        return list((await self._session.exec(query.limit(100))).all())

    async def owing_sync(self) -> list[str]:
        """Uids of datasets with new files that no sync has been asked for, and nothing on its way."""
        busy = select(_UPLOAD.dataset_uid).where(_UPLOAD.state == UploadState.PROCESSING)
        query = select(_UPLOAD.dataset_uid).where(_UPLOAD.sync_owed, _UPLOAD.state.in_(_ENDED), _UPLOAD.dataset_uid.not_in(busy))
        return list((await self._session.exec(query.distinct())).all())

    async def sync_asked(self, dataset_uid: str) -> None:
        """A sync of the dataset will see whatever its ended uploads stored."""
        where = (_UPLOAD.dataset_uid == dataset_uid) & _UPLOAD.state.in_(_ENDED)
        await self._session.exec(update(UploadRow).where(where).values(sync_owed=False))

    async def older(self, *, idle_since: datetime, ended_before: datetime, limit: int = 100) -> list[str]:
        """Ids of uploads nobody sent to since ``idle_since``, and of those that ended before ``ended_before``."""
        idle = (_UPLOAD.state == UploadState.RECEIVING) & (_UPLOAD.update_time < idle_since)
        ended = _UPLOAD.state.in_(_ENDED) & (_UPLOAD.update_time < ended_before)
        return list((await self._session.exec(select(_UPLOAD.upload_id).where(idle | ended).limit(limit))).all())

    async def of_dataset(self, dataset_uid: str) -> list[str]:
        """Ids of all uploads into a dataset."""
        return list((await self._session.exec(select(_UPLOAD.upload_id).where(_UPLOAD.dataset_uid == dataset_uid))).all())

    async def with_bytes(self, upload_ids: Sequence[str]) -> set[str]:
        """Those of the ids whose bytes are still needed."""
        query = select(_UPLOAD.upload_id).where(_UPLOAD.upload_id.in_(upload_ids), _UPLOAD.state.not_in(_ENDED))
        return set((await self._session.exec(query)).all())

    def add(self, upload: Upload, *, request_id: str) -> None:
        """A new one."""
        self._session.add(UploadRow(request_id=request_id or None, upload_id=upload.upload_id, **_fields(upload)))

    async def put(self, upload: Upload, outcomes: Sequence[Outcome] = ()) -> None:
        """Save changes of one that is there, with the rows of files that were done just now."""
        row = await self._session.get_one(UploadRow, upload.upload_id)
        first = row.num_stored + row.num_already_there + row.num_skipped + row.num_failed
        for name, value in _fields(upload).items():
            setattr(row, name, value)
        if upload.state is not UploadState.RECEIVING:
            row.request_id = None
        for number, outcome in enumerate(outcomes, first):
            self._session.add(UploadResultRow(upload_id=upload.upload_id, number=number, **asdict(outcome)))

    async def remove(self, upload_ids: Sequence[str]) -> None:
        """Forget uploads and their rows."""
        await self._session.exec(delete(UploadResultRow).where(_RESULT.upload_id.in_(upload_ids)))
        await self._session.exec(delete(UploadRow).where(_UPLOAD.upload_id.in_(upload_ids)))


def _upload(row: UploadRow) -> Upload:
    same = {field.name: getattr(row, field.name) for field in fields(Upload) if field.name not in ("options", "counts", "state", "source")}
    return Upload(
        **same,
        options=UploadOptions(**{field.name: getattr(row, field.name) for field in fields(UploadOptions)}),
        counts=UploadCounts(**{field.name: getattr(row, field.name) for field in fields(UploadCounts)}),
        state=UploadState(row.state),
        source=UploadSource(row.source),
    )


def _fields(upload: Upload) -> dict[str, Any]:
    values = asdict(upload)
    del values["upload_id"]
    options, counts = values.pop("options"), values.pop("counts")
    return {**values, **options, **counts}
