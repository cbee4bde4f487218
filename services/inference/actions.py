"""What callers can do with deployments: one function a verb, one transaction inside."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from libs.runtime.errors import InvalidInput, WrongState
from libs.runtime.names import DEPLOYMENT, MODEL, PROJECT, InvalidName, check_id
from libs.runtime.secrets import SecretUnreadable
from services.inference.deps import Deps
from services.inference.domain import (
    STARTING_MESSAGE,
    Deployment,
    Purpose,
    Reason,
    State,
    check_deployable,
    check_num_instances,
    demands,
)
from services.inference.events import tell_change
from services.inference.quota import CATALOGUE, Demand, Quota, ResourceType, resource_type
from services.inference.store import InferenceWork
from services.inference.tokens import new_deployment_token

SUGGESTION_PREFIX = "suggest-"
MAX_REQUEST_ID_LENGTH = 64
MODEL_PATIENCE_SECONDS = 1.5


@dataclass(frozen=True)
class NewDeployment:
    """What a caller asks for; zeros and empty strings mean the default."""

    parent: str
    deployment_id: str
    model: str
    resource_type: str = ""
    num_instances: int = 0
    quota: Quota = field(default_factory=lambda: Quota(0, 0))
    request_id: str = ""


async def create_deployment(deps: Deps, new: NewDeployment) -> Deployment:
    """Create a deployment; its instances start at once.

    Raises:
        InvalidInput: a name, number or id that breaks its rule.
        NotFound: no such project or model.
        ModelRetired: the model was withdrawn.
        ResourceTypeUnknown: not in the catalogue.
        QuotaExceeded: more than is free.
        AlreadyExists: the name is taken.
    """
    name = _checked_name(new.parent, new.deployment_id)
    MODEL.parse(new.model)
    if len(new.request_id) > MAX_REQUEST_ID_LENGTH:
        raise InvalidInput(f"A request id has at most {MAX_REQUEST_ID_LENGTH} characters.", maximum=MAX_REQUEST_ID_LENGTH)
    entry = resource_type(new.resource_type)
    quota = entry.filled(new.quota)
    num_instances = check_num_instances(new.num_instances or 1)
    token = deps.key.encrypt(new_deployment_token(), purpose=name)
    await _await_model(deps, new.model)
    async with deps.work() as w:
        if new.request_id and (made := await w.deployments.of_request(new.request_id)) is not None:
            return made
        model = check_deployable(await w.models.get(new.model))
        deployment = Deployment(
            name=name,
            model=model.name,
            bundle_digest=model.bundle_digest,
            resource_type=entry.type_id,
            num_instances=num_instances,
            quota=quota,
            state=State.CREATING,
            reason=Reason.INSTANCES_STARTING,
            message=STARTING_MESSAGE,
            purpose=Purpose.PUBLIC,
            encrypted_token=token,
            create_time=w.now,
            update_time=w.now,
        )
        await w.deployments.add(deployment, request_id=new.request_id or None)
        await check_fits(w, deployment)
        tell_change(w, deployment)
        await w.commit()
    deps.wake()
    return deployment


async def scale_deployment(deps: Deps, name: str, num_instances: int) -> Deployment:
    """Change the number of instances.

    Raises:
        NotFound: no such deployment.
        InvalidInput: not 1 to 64.
        QuotaExceeded: more than is free.
        WrongState: it is being deleted.
    """
    return await _change(deps, name, lambda deployment, at: deployment.scale(num_instances, at=at), fits=True)


async def stop_deployment(deps: Deps, name: str) -> Deployment:
    """Stop all instances; the address stays and answers that nobody is ready.

    Raises:
        NotFound: no such deployment.
        WrongState: it is being deleted.
    """
    return await _change(deps, name, lambda deployment, at: deployment.stop(at=at), fits=False)


async def start_deployment(deps: Deps, name: str) -> Deployment:
    """Start a stopped deployment; try a failed one again at once.

    Raises:
        NotFound: no such deployment.
        QuotaExceeded: others have taken its place meanwhile.
        WrongState: it is being deleted.
    """
    return await _change(deps, name, lambda deployment, at: deployment.start(at=at), fits=True)


async def delete_deployment(deps: Deps, name: str, *, etag: str) -> None:
    """Stop its instances and forget it, beside the call; its address is unknown at once.

    Raises:
        NotFound: no such deployment.
        Conflict: the etag is stale.
    """
    await _change(deps, name, lambda deployment, at: deployment.delete(at=at, etag=etag), fits=False)


async def reveal_token(deps: Deps, name: str) -> str:
    """The token callers of the public API send.

    Raises:
        NotFound: no such deployment.
        WrongState: it is one for suggestions, which has no public address, or its token was made under another key.
    """
    async with deps.work() as w:
        deployment = await w.deployments.get(_parsed(name))
        if deployment.purpose is not Purpose.PUBLIC:
            raise WrongState(f"{name} serves suggestions only; it has no token.", name=name)
        # Nothing changes, but that it was shown is written down.
        await w.commit()
    try:
        return deps.key.decrypt(deployment.encrypted_token, purpose=deployment.name)
    except SecretUnreadable as error:
        message = f"The token of {name} was made under another secret.key; restore that file, or make the deployment anew."
        raise WrongState(message, name=name) from error


async def resource_types(deps: Deps) -> list[tuple[ResourceType, int]]:
    """The catalogue, with how many more instances of each type would fit."""
    async with deps.work(read_only=True) as w:
        taken, capacity = demands(await w.deployments.all()), await w.hosts.capacity()
    return [(entry, capacity.num_available(entry.quota, taken)) for entry in CATALOGUE]


async def check_fits(w: InferenceWork, deployment: Deployment) -> None:
    """Make sure that what the deployment wants is free.

    Raises:
        QuotaExceeded: it is not.
    """
    wanted = Demand(deployment.quota, deployment.num_instances)
    capacity = await w.hosts.capacity(lock=True)
    capacity.check(wanted, demands(await w.deployments.all(), without=deployment.name))


async def _change(deps: Deps, name: str, change: Callable[[Deployment, datetime], Deployment], *, fits: bool) -> Deployment:
    async with deps.work() as w:
        before = await w.deployments.get(_parsed(name), lock=True)
        after = change(before, w.now)
        if after.revision == before.revision:
            return before
        if fits and after.demand.memory_mb > before.demand.memory_mb:
            await check_fits(w, after)
        if before.state is State.FAILED:
            # Whoever asked for something else after a failure wants a fresh try, not the end of a growing delay.
            for assignment in await w.assignments.all(deployment=name):
                if assignment.report.trouble is not None:
                    await w.assignments.leave(assignment.assignment_id)
        await w.deployments.put(after)
        tell_change(w, after)
        await w.commit()
    deps.wake()
    return after


async def _await_model(deps: Deps, name: str) -> None:
    """Give the fact of a model that was made a moment ago time to arrive; returns whether or not it came.

    A caller who was told by the trainer that a task is done may be here before the fact is.
    """
    end = time.monotonic() + MODEL_PATIENCE_SECONDS
    while time.monotonic() < end:
        async with deps.work(read_only=True) as w:
            if await w.models.find(name) is not None:
                return
        await asyncio.sleep(0.1)


def _checked_name(parent: str, deployment_id: str) -> str:
    project = PROJECT.parse(parent)["project"]
    check_id(deployment_id, "deployment")
    if deployment_id.startswith(SUGGESTION_PREFIX):
        raise InvalidName(f"Names that begin with {SUGGESTION_PREFIX!r} are kept for suggestions; choose another.", value=deployment_id)
    return DEPLOYMENT.format(project=project, deployment=deployment_id)


def _parsed(name: str) -> str:
    DEPLOYMENT.parse(name)
    return name
