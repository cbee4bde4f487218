"""The fact inference tells, and the facts it hears."""

from typing import Any, Final

from inkwright.trainer.v1 import model_pb2, trainer_events_pb2
from libs.runtime.hearing import Heard, Hearing
from libs.runtime.logs import get_logger
from services.inference.convert import change_to_proto
from services.inference.deps import Deps
from services.inference.domain import DeployableModel, Deployment, Purpose
from services.inference.store import InferenceWork

log = get_logger()


def tell_change(w: InferenceWork, deployment: Deployment, *, deleted: bool = False) -> None:
    """Tell that a public deployment changed.

    Those for suggestions are nobody's business: they start again by themselves, and must not keep a model from being retired.
    """
    if deployment.purpose is Purpose.PUBLIC:
        w.tell(change_to_proto(deployment, deleted=deleted), resource="deployment", id=deployment.deployment_id)


async def on_model_registered(heard: Heard[trainer_events_pb2.ModelRegistered], deps: Deps) -> None:
    """A model can be deployed from now on."""
    model = heard.fact.model
    async with heard.once(deps.work) as w:
        retired = model.state == model_pb2.Model.State.RETIRED
        await w.models.put(DeployableModel(model.name, model.bundle_digest, retired))
        await w.commit()
    log.info("model_deployable", model=model.name)


async def on_model_retired(heard: Heard[trainer_events_pb2.ModelRetired], deps: Deps) -> None:
    """A model cannot be deployed any more; what runs it goes on, its suggestion instance ends."""
    name = heard.fact.model
    async with heard.once(deps.work) as w:
        known = await w.models.find(name)
        await w.models.put(DeployableModel(name, known.bundle_digest if known else "", retired=True))
        for deployment in await w.deployments.all():
            if deployment.model == name and deployment.purpose is Purpose.SUGGESTION:
                current = await w.deployments.get(deployment.name, lock=True)
                await w.deployments.put(current.delete(at=w.now))
        await w.commit()
    deps.wake()
    log.info("model_retired", model=name)


HEARINGS: Final[list[Hearing[Any, Deps]]] = [
    Hearing(
        durable="inference-model-registered",
        fact=trainer_events_pb2.ModelRegistered,
        service="trainer",
        resource="model",
        handle=on_model_registered,
    ),
    Hearing(
        durable="inference-model-retired",
        fact=trainer_events_pb2.ModelRetired,
        service="trainer",
        resource="model",
        handle=on_model_retired,
    ),
]
