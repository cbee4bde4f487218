"""What the gateway knows of deployments and their instances, heard from two key-value buckets and kept while the bus is away."""

import asyncio
import itertools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError

from inkwright.inference.v1 import instance_service_pb2
from libs.runtime.bus import Bus
from libs.runtime.errors import NoReadyInstance, NotFound
from libs.runtime.grpc_client import connect
from libs.runtime.key_value import KeyChange, KeyValue
from libs.runtime.logs import get_logger
from libs.runtime.secrets import InstallationKey, SecretUnreadable, same
from libs.runtime.trust import Credentials

log = get_logger()

DEPLOYMENTS_BUCKET = "deployments"
INSTANCES_BUCKET = "instances"
INSTANCE_TTL_SECONDS = 8.0
DROP_GRACE_SECONDS = 60.0
LAPSED_SECONDS = 600.0
"""How long an instance that no longer registers is still tried when nothing better is there."""


@dataclass(eq=False)
class Instance:
    """One endpoint that answers for a deployment.

    ``set_aside``: did not take a connection; skipped until it registers again. ``lapsed_at``: when its registration ran out or was
    withdrawn. After a long outage of the bus all registrations run out while the instances are well, so a lapsed one is a last resort,
    not gone.
    """

    key: str
    endpoint: str
    bundle_digest: str
    channel: grpc.aio.Channel
    num_outstanding: int = 0
    set_aside: bool = False
    lapsed_at: float | None = None
    last_pick: int = 0

    @property
    def deployment_id(self) -> str:
        """First part of its key."""
        return self.key.partition(".")[0]


@dataclass(frozen=True)
class Deployment:
    """What must be known of a deployment to let a caller in."""

    deployment_id: str
    tokens: tuple[str, ...] = field(repr=False)

    def accepts(self, token: str) -> bool:
        """Whether the token is one of its own; how long that takes does not tell how nearly right it is."""
        return any(same(token, valid) for valid in self.tokens)


@dataclass(frozen=True)
class Load:
    """What a deployment's instances have to do, as far as this gateway gave it to them."""

    num_ready: int
    num_outstanding: int


class RoutingTable:
    """Deployments and instances, by key. Fed by ``follow`` or, in tests, by ``on_deployment`` and ``on_instance``."""

    def __init__(self, key: InstallationKey, credentials: Credentials, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._credentials = credentials
        self._clock = clock
        self._deployments: dict[str, Deployment] = {}
        self._instances: dict[str, Instance] = {}
        self._picks = itertools.count(1)
        self._closing: set[asyncio.Task[None]] = set()
        self.is_filled = False
        """Whether all deployments were heard once: before that an unknown one may well exist."""

    async def follow(self, bus: Bus, stopping: asyncio.Event) -> None:
        """Watch both buckets until ``stopping`` is set."""
        deployments = await KeyValue.open(bus, DEPLOYMENTS_BUCKET, ttl_seconds=0)
        instances = await KeyValue.open(bus, INSTANCES_BUCKET, ttl_seconds=INSTANCE_TTL_SECONDS)
        tasks = [
            asyncio.create_task(self._watch(deployments, self.on_deployment), name="watch-deployments"),
            asyncio.create_task(self._watch(instances, self.on_instance), name="watch-instances"),
            asyncio.create_task(stopping.wait(), name="watch-stop"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _watch(self, bucket: KeyValue, apply: Callable[[KeyChange | None], None]) -> None:
        async for change in bucket.watch():
            try:
                apply(change)
            except DecodeError as error:
                log.error("routing_entry_unreadable", key=change.key if change else "", error=repr(error))

    def loads(self) -> dict[str, "Load"]:
        """Of every deployment, whether it has instances or not."""
        found = {deployment_id: Load(0, 0) for deployment_id in self._deployments}
        for instance in self._instances.values():
            before = found.get(instance.deployment_id, Load(0, 0))
            is_ready = instance.lapsed_at is None and not instance.set_aside
            found[instance.deployment_id] = Load(before.num_ready + is_ready, before.num_outstanding + instance.num_outstanding)
        return found

    def on_deployment(self, change: KeyChange | None) -> None:
        """A deployment's entry changed; ``None``: all that exist have been told."""
        if change is None:
            self.is_filled = True
        elif change.value is None:
            self._deployments.pop(change.key, None)
            for instance in [known for known in self._instances.values() if known.deployment_id == change.key]:
                self._drop(instance)
        else:
            route = instance_service_pb2.DeploymentRoute.FromString(change.value)
            self._deployments[change.key] = Deployment(change.key, self._tokens(route))

    def _tokens(self, route: instance_service_pb2.DeploymentRoute) -> tuple[str, ...]:
        try:
            return tuple(self._key.decrypt(token, purpose=route.deployment) for token in route.encrypted_tokens)
        except SecretUnreadable as error:
            # Nobody gets in until the entry is written with this installation's key.
            log.error("deployment_token_unreadable", deployment=route.deployment, error=str(error))
            return ()

    def on_instance(self, change: KeyChange | None) -> None:
        """An instance registered, renewed its registration, or lost it."""
        if change is None:
            return
        known = self._instances.get(change.key)
        if change.value is None:
            if known is not None and known.lapsed_at is None:
                known.lapsed_at = self._clock()
                log.info("instance_lapsed", instance=change.key)
        else:
            self._register(change.key, known, instance_service_pb2.InstanceRegistration.FromString(change.value))
        for instance in list(self._instances.values()):
            if instance.lapsed_at is not None and (instance.set_aside or self._clock() - instance.lapsed_at > LAPSED_SECONDS):
                self._drop(instance)

    def _register(self, key: str, known: Instance | None, registration: instance_service_pb2.InstanceRegistration) -> None:
        endpoint, digest = registration.endpoint, registration.bundle_digest
        if known is not None and known.endpoint == endpoint and known.bundle_digest == digest and not known.set_aside:
            known.lapsed_at = None
            return
        # Whoever had this endpoint before is gone: its images must not reach another deployment's model.
        for other in [other for other in self._instances.values() if other.endpoint == endpoint or other.key == key]:
            self._drop(other)
        self._instances[key] = Instance(key, endpoint, digest, self._connect(endpoint))
        log.info("instance_known", instance=key, endpoint=endpoint)

    def deployment(self, deployment_id: str) -> Deployment:
        """What is known of a deployment.

        Raises:
            NotFound: there is none of this id.
            NoReadyInstance: the gateway has just started and does not know yet.
        """
        found = self._deployments.get(deployment_id)
        if found is not None:
            return found
        if not self.is_filled:
            raise NoReadyInstance("The gateway has not heard of any deployment yet; try again in a moment.")
        raise NotFound(f"There is no deployment {deployment_id[:60]!r}.", deployment=deployment_id[:60])

    def pick(self, deployment_id: str, tried: Collection[Instance]) -> Instance | None:
        """The instance with the least work that was not tried yet, or ``None``."""
        ready = [
            instance
            for instance in self._instances.values()
            if instance.deployment_id == deployment_id and not instance.set_aside and instance not in tried
        ]
        if not ready:
            return None
        best = min(ready, key=lambda instance: (instance.lapsed_at is not None, instance.num_outstanding, instance.last_pick))
        best.last_pick = next(self._picks)
        return best

    def set_aside(self, instance: Instance) -> None:
        """Skip an instance until it registers again; a lapsed one is forgotten."""
        log.warning("instance_set_aside", instance=instance.key, endpoint=instance.endpoint)
        instance.set_aside = True
        if instance.lapsed_at is not None:
            self._drop(instance)

    def _connect(self, endpoint: str) -> grpc.aio.Channel:
        # Its own pool: a channel to an endpoint that was dead before must not inherit that one's wait before the next try.
        channel = connect(endpoint, self._credentials, ("grpc.use_local_subchannel_pool", 1))
        channel.get_state(try_to_connect=True)
        return channel

    def _drop(self, instance: Instance) -> None:
        if self._instances.get(instance.key) is instance:
            del self._instances[instance.key]
        # The channel's own grace lets requests in flight finish; nothing new is sent over it.
        task = asyncio.create_task(instance.channel.close(DROP_GRACE_SECONDS), name=f"close-{instance.key}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every channel."""
        for task in list(self._closing):
            task.cancel()
        for instance in self._instances.values():
            await instance.channel.close()
