"""What inference keeps: deployments and the models that can be deployed, and the unit of work."""

from datetime import datetime
from functools import cached_property
from typing import ClassVar

from sqlalchemy import MetaData, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from libs.runtime.db import UnitOfWork, WorkFactory
from libs.runtime.errors import AlreadyExists, NotFound
from libs.runtime.paging import Cursor, Page
from services.inference.domain import DeployableModel, Deployment, Purpose, Reason, State
from services.inference.host_store import Assignments, Hosts
from services.inference.quota import Quota
from services.inference.rows import METADATA, DeploymentRow, ModelRow

_NUM_NAMED = 10


class Deployments:
    """The deployments of one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, name: str, *, lock: bool = False) -> Deployment:
        """One deployment.

        Args:
            name: of the resource.
            lock: it is read to be changed.

        Raises:
            NotFound: there is none of that name.
        """
        found = await self.find(name, lock=lock)
        if found is None:
            raise NotFound(f"There is no deployment {name}; `inkctl deploy list` shows those there are.", name=name)
        return found

    async def find(self, name: str, *, lock: bool = False) -> Deployment | None:
        """One deployment, or ``None``; ``lock``: it is read to be changed."""
        row = await self._session.get(DeploymentRow, name, with_for_update=lock or None)
        return None if row is None else _deployment(row)

    async def of_request(self, request_id: str) -> Deployment | None:
        """What a create request with this id made."""
        row = (await self._session.exec(select(DeploymentRow).where(DeploymentRow.request_id == request_id))).first()
        return None if row is None else _deployment(row)

    async def all(self) -> list[Deployment]:
        """Every deployment of every purpose, oldest first."""
        rows = await self._session.exec(select(DeploymentRow).order_by(col(DeploymentRow.create_time), col(DeploymentRow.name)))
        return [_deployment(row) for row in rows]

    async def page(self, parent: str, *, size: int, after: Cursor, with_suggestions: bool) -> Page[Deployment]:
        """Deployments of a project, newest first.

        Args:
            parent: ``projects/{project}``.
            size: at most so many.
            after: cursor of the page before.
            with_suggestions: also those made for suggestions.
        """
        create_time, name = col(DeploymentRow.create_time), col(DeploymentRow.name)
        query = select(DeploymentRow).where(name.startswith(f"{parent}/", autoescape=True))
        if not with_suggestions:
            query = query.where(DeploymentRow.purpose == Purpose.PUBLIC.value)
        if after:
            moment, last = datetime.fromisoformat(str(after[0])), str(after[1])
            query = query.where(tuple_(create_time, name) < (moment, last))
        rows = list(await self._session.exec(query.order_by(create_time.desc(), name.desc()).limit(size + 1)))
        items = [_deployment(row) for row in rows[:size]]
        more = len(rows) > size
        return Page(items, (items[-1].create_time.isoformat(), items[-1].name) if more else None)

    async def add(self, deployment: Deployment, *, request_id: str | None) -> None:
        """Insert a new one.

        Raises:
            AlreadyExists: the name is taken.
        """
        if await self._session.get(DeploymentRow, deployment.name) is not None:
            raise AlreadyExists(f"{deployment.name} exists; choose another name or delete it first.", name=deployment.name)
        self._session.add(_row(deployment, request_id))
        await self._session.flush()

    async def put(self, deployment: Deployment) -> None:
        """Save a changed one."""
        row = await self._session.get_one(DeploymentRow, deployment.name)
        await self._session.merge(_row(deployment, row.request_id))
        await self._session.flush()

    async def remove(self, name: str) -> None:
        """Delete one that is there."""
        await self._session.delete(await self._session.get_one(DeploymentRow, name))
        await self._session.flush()


class Models:
    """The deployable models of one unit of work."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, name: str) -> DeployableModel | None:
        """One model, retired ones too."""
        row = await self._session.get(ModelRow, name)
        return None if row is None else DeployableModel(row.name, row.bundle_digest, row.retired)

    async def get(self, name: str) -> DeployableModel:
        """One model, retired ones too.

        Raises:
            NotFound: nobody told of it; the message names some that can be deployed.
        """
        found = await self.find(name)
        if found is None:
            query = select(ModelRow.name).where(col(ModelRow.retired).is_(False)).order_by(col(ModelRow.name)).limit(_NUM_NAMED)
            offered = ", ".join(known.rpartition("/")[2] for known in await self._session.exec(query)) or "none yet"
            raise NotFound(f"There is no model {name}; `inkctl model list` shows: {offered}.", name=name, offered=offered)
        return found

    async def put(self, model: DeployableModel) -> None:
        """Insert or replace; a retired model stays retired whatever comes late."""
        row = await self._session.get(ModelRow, model.name)
        if row is None:
            self._session.add(ModelRow(name=model.name, bundle_digest=model.bundle_digest, retired=model.retired))
        else:
            row.bundle_digest = model.bundle_digest or row.bundle_digest
            row.retired = row.retired or model.retired
        await self._session.flush()


class InferenceWork(UnitOfWork):
    """A unit of work of inference."""

    service = "inference"
    metadata: ClassVar[MetaData] = METADATA

    @cached_property
    def deployments(self) -> Deployments:
        """The deployments."""
        return Deployments(self.session)

    @cached_property
    def hosts(self) -> Hosts:
        """The hosts."""
        return Hosts(self.session)

    @cached_property
    def assignments(self) -> Assignments:
        """What runs on which host."""
        return Assignments(self.session)

    @cached_property
    def models(self) -> Models:
        """The deployable models."""
        return Models(self.session)


Work = WorkFactory[InferenceWork]


def _deployment(row: DeploymentRow) -> Deployment:
    return Deployment(
        name=row.name,
        model=row.model,
        bundle_digest=row.bundle_digest,
        resource_type=row.resource_type,
        num_instances=row.num_instances,
        quota=Quota(row.cores, row.memory_mb, row.gpus),
        state=State(row.state),
        reason=Reason(row.reason),
        message=row.message,
        purpose=Purpose(row.purpose),
        encrypted_token=row.encrypted_token,
        create_time=row.create_time,
        update_time=row.update_time,
        revision=row.revision,
        used_time=row.used_time,
    )


def _row(deployment: Deployment, request_id: str | None) -> DeploymentRow:
    return DeploymentRow(
        name=deployment.name,
        model=deployment.model,
        bundle_digest=deployment.bundle_digest,
        resource_type=deployment.resource_type,
        num_instances=deployment.num_instances,
        cores=deployment.quota.cores,
        memory_mb=deployment.quota.memory_mb,
        gpus=deployment.quota.gpus,
        state=deployment.state.value,
        reason=deployment.reason.value,
        message=deployment.message,
        purpose=deployment.purpose.value,
        encrypted_token=deployment.encrypted_token,
        create_time=deployment.create_time,
        update_time=deployment.update_time,
        revision=deployment.revision,
        used_time=deployment.used_time,
        request_id=request_id,
    )
