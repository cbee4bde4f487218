"""Work queues: each job goes to one worker, which keeps it alive, finishes it, delays it or gives it up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import nats.errors
from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.errors import APIError

from libs.runtime import metrics
from libs.runtime.bus import Bus
from libs.runtime.dead_letters import Cause, bury, message_id
from libs.runtime.delivery import consumed, heartbeat, origin_of
from libs.runtime.logs import get_logger

log = get_logger()

M = TypeVar("M", bound=Message)


class Job(Generic[M]):
    """A job in hand. Exactly one of ``done``, ``retry`` and ``dead`` ends it; if none does, it comes again after the lease."""

    def __init__(self, bus: Bus, message: Msg, order: M, durable: str, lease_seconds: float) -> None:
        self.order = order
        self.num_tries = message.metadata.num_delivered
        """1 on the first delivery."""
        self.id = message_id(message)
        self.origin = origin_of(message)
        """The request that the job was queued for."""
        self.attributes = consumed(message, durable)
        """Of the span in which it is done."""
        self._bus = bus
        self._message = message
        self._durable = durable
        self._lease_seconds = lease_seconds

    async def in_progress(self) -> None:
        """Begin the lease anew."""
        await self._message.in_progress()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep the lease for as long as the block runs and this process lives."""
        async with heartbeat(self._message, self._lease_seconds / 3):
            yield

    async def done(self) -> None:
        """Finished: waits until the server knows, so that nobody else gets it."""
        await self._message.ack_sync(timeout=5)
        metrics.JOBS.labels(self._durable, "done").inc()

    async def retry(self, delay_seconds: float) -> None:
        """Give it back, for this or another worker after the delay."""
        await self._message.nak(delay=delay_seconds)
        metrics.JOBS.labels(self._durable, "retried").inc()

    async def dead(self, error: str) -> None:
        """Hopeless: keep it with its error among the dead letters and out of the queue."""
        await bury(self._bus, self._message, self._durable, Cause.REFUSED, error)
        metrics.JOBS.labels(self._durable, "dead").inc()


class WorkQueue(Generic[M]):
    """One subject of a work-queue stream.

    Args:
        bus: connected.
        stream: ``JOBS_TRAIN`` or ``JOBS_PREDICT``.
        subject: ``jobs.train.<resource class>`` …; one queue has one durable consumer, shared by all its workers.
        order: type of the jobs.
        lease_seconds: a job whose worker is silent for so long goes to another.
    """

    def __init__(self, bus: Bus, *, stream: str, subject: str, order: type[M], lease_seconds: float = 30.0) -> None:
        self._bus = bus
        self._stream = stream
        self._subject = subject
        self._order = order
        self._lease_seconds = lease_seconds
        self._durable = subject.replace(".", "-")
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def pull(self, *, wait_seconds: float = 5.0) -> Job[M] | None:
        """The next job, or ``None`` when none came in time. A job that cannot be read goes to the dead letters.

        Raises:
            nats.errors.Error: the bus is away; try again later.
        """
        subscription = self._subscription or await self._subscribe()
        self._subscription = subscription
        try:
            message, *_ = await subscription.fetch(1, timeout=wait_seconds)
        except nats.errors.TimeoutError:
            return None
        except nats.errors.Error:
            self._subscription = None
            raise
        try:
            order = self._order.FromString(message.data)
        except DecodeError as error:
            log.error("job_unreadable", subject=self._subject, error=repr(error))
            await bury(self._bus, message, self._durable, Cause.UNREADABLE, repr(error))
            metrics.JOBS.labels(self._durable, "dead").inc()
            return None
        return Job(self._bus, message, order, self._durable, self._lease_seconds)

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        config = api.ConsumerConfig(
            durable_name=self._durable,
            filter_subject=self._subject,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=self._lease_seconds,
            # A message past the server's count would stay in a work queue for ever: workers count and bury.
            max_deliver=-1,
        )
        try:
            await self._bus.jetstream.add_consumer(self._stream, config)
        except APIError:
            await self._bus.declare()
            await self._bus.jetstream.add_consumer(self._stream, config)
        return await self._bus.jetstream.pull_subscribe_bind(self._durable, stream=self._stream)
