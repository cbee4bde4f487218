"""Queries about hosts and what they were assigned."""

import orjson
from pydantic import TypeAdapter
from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.inference.instances import Report
from services.inference.placement import Assignment, HostView
from services.inference.quota import Capacity, Quota
from services.inference.rows import AssignmentRow, HostRow

_REPORT = TypeAdapter(Report)


class Hosts:
    """The hosts of one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self) -> list[HostView]:
        """Every host, those that are leaving too."""
        rows = await self._session.exec(select(HostRow).order_by(col(HostRow.name)))
        return [HostView(row.name, Capacity(row.cores, row.memory_mb), row.is_leaving, row.beat) for row in rows]

    async def capacity(self, *, lock: bool = False) -> Capacity:
        """What the hosts have together.

        Args:
            lock: until the unit's end, so that what is free now is not promised twice.
        """
        query = select(HostRow).order_by(col(HostRow.name))
        rows = list(await self._session.exec(query.with_for_update() if lock else query))
        rows = [row for row in rows if not row.is_leaving] or rows
        return Capacity.together([Capacity(row.cores, row.memory_mb) for row in rows])

    async def put(self, host: HostView) -> None:
        """Insert or replace."""
        row = HostRow(
            name=host.name,
            cores=host.capacity.cores,
            memory_mb=host.capacity.memory_mb,
            is_leaving=host.is_leaving,
            beat=host.beat,
        )
        await self._session.merge(row)
        await self._session.flush()

    async def remove(self, name: str = "") -> None:
        """Delete a host with its assignments; without a name every one."""
        for host, row in ((col(AssignmentRow.host), AssignmentRow), (col(HostRow.name), HostRow)):
            await self._session.exec(delete(row).where(host == name) if name else delete(row))


class Assignments:
    """The assignments of one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self, *, deployment: str = "", host: str = "") -> list[Assignment]:
        """Assignments, oldest first.

        Args:
            deployment: only those of this one.
            host: only those to this one.
        """
        query = select(AssignmentRow).order_by(col(AssignmentRow.create_time), col(AssignmentRow.assignment_id))
        if deployment:
            query = query.where(AssignmentRow.deployment == deployment)
        if host:
            query = query.where(AssignmentRow.host == host)
        return [_assignment(row) for row in await self._session.exec(query)]

    async def add(self, assignment: Assignment) -> None:
        """Insert a new one."""
        quota = assignment.quota
        row = AssignmentRow(
            assignment_id=assignment.assignment_id,
            deployment=assignment.deployment,
            host=assignment.host,
            bundle_digest=assignment.bundle_digest,
            cores=quota.cores,
            memory_mb=quota.memory_mb,
            gpus=quota.gpus,
            is_leaving=assignment.is_leaving,
            report=_report_text(assignment.report),
            create_time=assignment.create_time,
        )
        self._session.add(row)
        await self._session.flush()

    async def leave(self, assignment_id: str) -> None:
        """Have its host end it; one that is gone already is no concern."""
        row = await self._session.get(AssignmentRow, assignment_id)
        if row is not None:
            row.is_leaving = True
            await self._session.flush()

    async def report(self, assignment_id: str, report: Report) -> None:
        """Note what its host says; of one that is gone nothing."""
        row = await self._session.get(AssignmentRow, assignment_id)
        if row is not None:
            row.report = _report_text(report)
            await self._session.flush()

    async def remove(self, assignment_id: str) -> None:
        """Delete one."""
        await self._session.exec(delete(AssignmentRow).where(col(AssignmentRow.assignment_id) == assignment_id))


def _report_text(report: Report) -> str:
    return orjson.dumps(report).decode()


def _assignment(row: AssignmentRow) -> Assignment:
    return Assignment(
        assignment_id=row.assignment_id,
        deployment=row.deployment,
        host=row.host,
        bundle_digest=row.bundle_digest,
        quota=Quota(row.cores, row.memory_mb, row.gpus),
        create_time=row.create_time,
        is_leaving=row.is_leaving,
        report=_REPORT.validate_json(row.report),
    )
