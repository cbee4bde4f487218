"""Instances for suggestions: one hidden deployment a model, started when asked for, stopped when nobody asks any more."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from libs.runtime.errors import NoReadyInstance
from libs.runtime.names import DEPLOYMENT, MODEL
from services.inference.actions import SUGGESTION_PREFIX, check_fits
from services.inference.deps import Deps
from services.inference.domain import STARTING_MESSAGE, Deployment, Purpose, Reason, State, check_deployable
from services.inference.quota import resource_type

MAX_LEASE_SECONDS = 60.0
_MAX_ID_LENGTH = 30


@dataclass(frozen=True)
class Lease:
    """An instance that reads with a model, and until when it surely stays."""

    endpoint: str
    deployment: Deployment
    expire_time: datetime


async def acquire(deps: Deps, model: str) -> Lease:
    """Find an instance for suggestions, or start one; each call keeps it for another while.

    Args:
        deps: of the service.
        model: resource name; empty means the default.

    Raises:
        NotFound: no such model.
        ModelRetired: it was withdrawn.
        QuotaExceeded: there is no room for it.
        NoReadyInstance: it is starting, or cannot be started.
    """
    wanted = model or deps.settings.inference_suggestion_model
    ids = MODEL.parse(wanted)
    name = DEPLOYMENT.format(project=ids["project"], deployment=suggestion_id(ids["model"]))
    deployment = await _keep(deps, name, wanted)
    deps.wake()
    async with deps.work(read_only=True) as w:
        views = [each.report.view for each in await w.assignments.all(deployment=name) if each.is_ready and not each.is_leaving]
    ready = [view for view in views if view is not None and view.bundle_digest == deployment.bundle_digest]
    if not ready:
        hint = f"it cannot be started: {deployment.message}" if deployment.state is State.FAILED else "it is starting; call again."
        raise NoReadyInstance(f"No instance of {wanted} is ready for suggestions: {hint}", model=wanted, hint=hint)
    lease_seconds = min(MAX_LEASE_SECONDS, deps.settings.inference_suggestion_idle_seconds)
    endpoint = min(ready, key=lambda view: view.num_in_flight).endpoint
    return Lease(endpoint, deployment, (deployment.used_time or deployment.create_time) + timedelta(seconds=lease_seconds))


def suggestion_id(model_id: str) -> str:
    """Id of the deployment that makes suggestions with a model; a long id is cut and told apart by its digest."""
    whole = SUGGESTION_PREFIX + model_id
    if len(whole) <= _MAX_ID_LENGTH:
        return whole
    return f"{whole[: _MAX_ID_LENGTH - 9]}-{hashlib.sha256(model_id.encode()).hexdigest()[:8]}"


async def _keep(deps: Deps, name: str, model_name: str) -> Deployment:
    async with deps.work() as w:
        model = check_deployable(await w.models.get(model_name))
        before = await w.deployments.find(name, lock=True)
        if before is None:
            entry = resource_type("")
            kept = Deployment(
                name=name,
                model=model.name,
                bundle_digest=model.bundle_digest,
                resource_type=entry.type_id,
                num_instances=1,
                quota=entry.quota,
                state=State.CREATING,
                reason=Reason.INSTANCES_STARTING,
                message=STARTING_MESSAGE,
                purpose=Purpose.SUGGESTION,
                encrypted_token=b"",
                create_time=w.now,
                update_time=w.now,
                used_time=w.now,
            )
            await w.deployments.add(kept, request_id=None)
        else:
            kept = before.used(at=w.now).use_bundle(model.bundle_digest, at=w.now)
            if kept.state is State.STOPPED:
                kept = kept.start(at=w.now)
            await w.deployments.put(kept)
        if before is None or not before.wanted_instances:
            await check_fits(w, kept)
        await w.commit()
    return kept
