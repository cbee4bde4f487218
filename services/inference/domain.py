"""Deployments: their states, and what makes them change.

CREATING ⇄ RUNNING ⇄ SCALING      by what the instances do (``observe``)
any of these, FAILED → STOPPED    stop, or idle (suggestions)
STOPPED, FAILED → CREATING        start
any → UPDATING → RUNNING          another bundle
any of the first six → FAILED     crash loop, no bundle; → RUNNING again when the instances recover
any → DELETING ⇄ DELETE_FAILED → gone
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from libs.runtime.errors import Conflict, InvalidInput, WrongState
from libs.runtime.names import DEPLOYMENT
from services.inference.quota import MAX_INSTANCES, Demand, Quota

MAX_MESSAGE_LENGTH = 4000
STARTING_MESSAGE = "Its instances are starting."


class State(StrEnum):
    """See ``Deployment.State`` in the proto."""

    CREATING = "CREATING"
    RUNNING = "RUNNING"
    SCALING = "SCALING"
    UPDATING = "UPDATING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    DELETING = "DELETING"
    DELETE_FAILED = "DELETE_FAILED"


class Purpose(StrEnum):
    """Who calls it."""

    PUBLIC = "PUBLIC"
    SUGGESTION = "SUGGESTION"


class Reason(StrEnum):
    """The stable word beside a state."""

    INSTANCES_STARTING = "InstancesStarting"
    INSTANCES_CHANGING = "InstancesChanging"
    INSTANCES_RESTARTING = "InstancesRestarting"
    READY = "Ready"
    WARM_UP_FAILED = "WarmUpFailed"
    STOPPED_BY_USER = "StoppedByUser"
    IDLE = "Idle"
    CRASH_LOOP = "CrashLoop"
    MODEL_UNAVAILABLE = "ModelUnavailable"
    NO_ROOM = "NoRoom"
    DELETED_BY_USER = "DeletedByUser"
    CLEAN_UP_FAILED = "CleanUpFailed"


class ModelRetired(InvalidInput):
    """The model is not offered any more."""

    reason = "MODEL_RETIRED"


@dataclass(frozen=True)
class DeployableModel:
    """What inference knows of a model: what the trainer's facts said."""

    name: str
    bundle_digest: str
    retired: bool = False


@dataclass(frozen=True)
class Trouble:
    """Why instances cannot be started.

    Args:
        lasting: whether trying again alone is unlikely to help; the deployment is then FAILED, and tried slowly.
    """

    reason: Reason
    message: str
    lasting: bool = True


@dataclass(frozen=True)
class Observed:
    """What a deployment's instances are like now.

    Args:
        num_ready: ready ones that run the wanted bundle.
        num_others: all others that still live: starting, draining, or of another bundle.
        warm_up_error: what a ready instance's engine said when it was warmed up; empty when all went well.
        trouble: why there are not more.
    """

    num_ready: int = 0
    num_others: int = 0
    warm_up_error: str = ""
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Deployment:
    """A model behind an address; see the proto for the fields that both have.

    Args:
        revision: goes up by one with each change that a caller can see.
        encrypted_token: what callers of the public API send, under the installation's key; empty for suggestions.
        used_time: when a suggestion instance was last asked for; ``None`` for a public deployment.
    """

    name: str
    model: str
    bundle_digest: str
    resource_type: str
    num_instances: int
    quota: Quota
    state: State
    reason: Reason
    message: str
    purpose: Purpose
    encrypted_token: bytes
    create_time: datetime
    update_time: datetime
    revision: int = 1
    used_time: datetime | None = None

    @property
    def deployment_id(self) -> str:
        """The last part of the name."""
        return DEPLOYMENT.parse(self.name)["deployment"]

    @property
    def etag(self) -> str:
        """Changes with the resource, and is another when it was deleted and made again."""
        return f"{int(self.create_time.timestamp() * 1_000_000):x}-{self.revision}"

    @property
    def is_deleting(self) -> bool:
        """Whether it will be gone."""
        return self.state in (State.DELETING, State.DELETE_FAILED)

    @property
    def wanted_instances(self) -> int:
        """How many instances should live now."""
        return 0 if self.is_deleting or self.state is State.STOPPED else self.num_instances

    @property
    def demand(self) -> Demand:
        """What it takes of the host."""
        return Demand(self.quota, self.wanted_instances)

    def scale(self, num_instances: int, *, at: datetime) -> "Deployment":
        """Want another number of instances.

        Raises:
            InvalidInput: not 1 to 64.
            WrongState: it is being deleted.
        """
        self._check_alive("scaled")
        check_num_instances(num_instances)
        if num_instances == self.num_instances:
            return self
        scaled = replace(self, num_instances=num_instances)
        if self.state is not State.RUNNING:
            return scaled._changed(self.state, self.reason, self.message, at)
        message = f"Going from {self.num_instances} to {num_instances} instances."
        return scaled._changed(State.SCALING, Reason.INSTANCES_CHANGING, message, at)

    def stop(self, *, at: datetime, idle: bool = False) -> "Deployment":
        """Want no instance; a stopped one stays as it is.

        Raises:
            WrongState: it is being deleted.
        """
        self._check_alive("stopped")
        if self.state is State.STOPPED:
            return self
        if idle:
            return self._changed(State.STOPPED, Reason.IDLE, "Nobody asked for a suggestion for a while.", at)
        return self._changed(State.STOPPED, Reason.STOPPED_BY_USER, "Stopped; start it to have its address answer again.", at)

    def start(self, *, at: datetime) -> "Deployment":
        """Want its instances again: of a stopped one, or at once of a failed one; any other stays as it is.

        Raises:
            WrongState: it is being deleted.
        """
        self._check_alive("started")
        if self.state not in (State.STOPPED, State.FAILED):
            return self
        return self._changed(State.CREATING, Reason.INSTANCES_STARTING, STARTING_MESSAGE, at)

    def use_bundle(self, digest: str, *, at: datetime) -> "Deployment":
        """Want instances of another bundle of its model."""
        if digest == self.bundle_digest:
            return self
        updated = replace(self, bundle_digest=digest)
        if not self.wanted_instances:
            return updated._changed(self.state, self.reason, self.message, at)
        return updated._changed(State.UPDATING, Reason.INSTANCES_CHANGING, "Its instances change to another bundle of the model.", at)

    def delete(self, *, at: datetime, etag: str = "") -> "Deployment":
        """Want it gone; again is fine.

        Raises:
            Conflict: the etag is stale.
        """
        if etag and etag != self.etag:
            raise Conflict(f"{self.name} has changed since; read it again, then delete it.", name=self.name)
        if self.is_deleting:
            return self
        return self._changed(State.DELETING, Reason.DELETED_BY_USER, "Its instances are being stopped.", at)

    def clean_up_failed(self, problem: str, *, at: datetime) -> "Deployment":
        """Note that deleting met trouble; it is tried again for ever."""
        if self.state is State.DELETE_FAILED and self.message == problem:
            return self
        return self._changed(State.DELETE_FAILED, Reason.CLEAN_UP_FAILED, problem, at)

    def used(self, *, at: datetime) -> "Deployment":
        """Note that a suggestion instance was asked for; no caller sees this."""
        return replace(self, used_time=at)

    def is_idle(self, *, at: datetime, idle_seconds: float) -> bool:
        """Whether a suggestion deployment that runs was not asked for in that time."""
        if self.purpose is not Purpose.SUGGESTION or not self.wanted_instances:
            return False
        # A use that lies in the future was noted before the clock was set back: nobody waits until it comes round again.
        return abs(at - (self.used_time or self.create_time)) >= timedelta(seconds=idle_seconds)

    def observe(self, observed: Observed, *, at: datetime) -> "Deployment":
        """The deployment after a look at its instances; itself when that changes nothing."""
        if not self.wanted_instances:
            return self
        state, reason, message = self._judge(observed)
        if (state, reason, message) == (self.state, self.reason, self.message):
            return self
        return self._changed(state, reason, message, at)

    def _judge(self, observed: Observed) -> tuple[State, Reason, str]:
        ready, wanted = observed.num_ready, self.num_instances
        if ready == wanted and not observed.num_others:
            if observed.warm_up_error:
                return State.RUNNING, Reason.WARM_UP_FAILED, f"Ready, but the model failed when warmed up: {observed.warm_up_error}"
            return State.RUNNING, Reason.READY, f"{wanted} of {wanted} instances are ready."
        if observed.trouble is not None:
            trouble = observed.trouble
            # A failed deployment that is tried again has not recovered yet.
            failed = trouble.lasting or self.state is State.FAILED
            return State.FAILED if failed else self._unfinished(ready), trouble.reason, trouble.message[:MAX_MESSAGE_LENGTH]
        if self.state is State.FAILED:
            return self.state, self.reason, self.message
        state = self._unfinished(ready)
        if state is State.CREATING:
            return state, Reason.INSTANCES_STARTING, STARTING_MESSAGE
        restarting = self.state is State.RUNNING or self.reason is Reason.INSTANCES_RESTARTING
        reason = Reason.INSTANCES_RESTARTING if restarting else Reason.INSTANCES_CHANGING
        return state, reason, f"{ready} of {wanted} instances are ready."

    def _unfinished(self, num_ready: int) -> State:
        if self.state is State.UPDATING:
            return State.UPDATING
        return State.SCALING if num_ready else State.CREATING

    def _check_alive(self, verb: str) -> None:
        if self.is_deleting:
            raise WrongState(f"{self.name} is being deleted and cannot be {verb}.", name=self.name, state=self.state.value)

    def _changed(self, state: State, reason: Reason, message: str, at: datetime) -> "Deployment":
        return replace(self, state=state, reason=reason, message=message, update_time=at, revision=self.revision + 1)


def check_num_instances(num_instances: int) -> int:
    """Return ``num_instances`` when a deployment may have so many.

    Raises:
        InvalidInput: not 1 to 64.
    """
    if not 1 <= num_instances <= MAX_INSTANCES:
        raise InvalidInput(
            f"A deployment has 1 to {MAX_INSTANCES} instances, not {num_instances}.", num_instances=num_instances, maximum=MAX_INSTANCES
        )
    return num_instances


def check_deployable(model: DeployableModel) -> DeployableModel:
    """Return ``model`` when new deployments may use it.

    Raises:
        ModelRetired: it was withdrawn.
    """
    if model.retired:
        raise ModelRetired(f"{model.name} was retired; choose another model of `inkctl model list`.", model=model.name)
    return model


def demands(deployments: Sequence[Deployment], *, without: str = "") -> list[Demand]:
    """What all deployments but the one of that name take of the host."""
    return [deployment.demand for deployment in deployments if deployment.name != without]
