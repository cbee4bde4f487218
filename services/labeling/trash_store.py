"""Queries over which datasets are in the trash; rows never leave this file."""

from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.errors import Conflict, DatasetInTrash
from libs.runtime.names import DATASET
from services.labeling.rows import TrashRow


class Trash:
    """Datasets whose pages are closed together."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def check_out(self, project: str, dataset_id: str) -> None:
        """Accept any dataset that is not known to be in the trash.

        Raises:
            DatasetInTrash: it is.
        """
        row = await self._session.get(TrashRow, (project, dataset_id))
        if row is not None and row.is_trashed:
            raise DatasetInTrash.named(DATASET.format(project=project, dataset=dataset_id))

    async def revision(self, project: str, dataset_id: str) -> int:
        """How often it was put; to be read before looking."""
        row = await self._session.get(TrashRow, (project, dataset_id))
        return row.revision if row else 0

    async def put(self, project: str, dataset_id: str, *, is_trashed: bool, seen_at: int) -> None:
        """Keep what was seen after ``revision`` said ``seen_at``.

        Raises:
            Conflict: somebody put what he saw since; look again.
        """
        row = await self._session.get(TrashRow, (project, dataset_id), with_for_update=True)
        if (row.revision if row else 0) != seen_at:
            name = DATASET.format(project=project, dataset=dataset_id)
            raise Conflict(f"{name} was looked at by somebody else meanwhile.", name=name)
        if row is None:
            self._session.add(TrashRow(project=project, dataset_id=dataset_id, is_trashed=is_trashed, revision=1))
        else:
            row.is_trashed, row.revision = is_trashed, row.revision + 1
