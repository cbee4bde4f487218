"""Hearing facts: durable pull consumers, one handler each, in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import nats.errors
from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.errors import APIError

from libs.runtime import inbox, logs, metrics, traces
from libs.runtime.bus import BUS_ERRORS, TYPE_HEADER, Bus, event_stream
from libs.runtime.db import UnitOfWork, WorkFactory
from libs.runtime.dead_letters import Cause, bury, is_for, message_id
from libs.runtime.delivery import consumed, growing_delay, heartbeat, origin_of
from libs.runtime.errors import InvalidInput, NotFound, WrongState
from libs.runtime.inbox import AlreadyHeard
from libs.runtime.subjects import fact_subject

log = logs.get_logger()

ACK_WAIT_SECONDS = 10.0
"""How long a fact stays with a process that died, or with a server that forgot an acknowledgement when it was killed.
Handlers may take longer: a heartbeat keeps their fact."""
FETCH_SECONDS = 1.0
HOPELESS = (InvalidInput, NotFound, WrongState)
"""Errors that another try cannot heal."""

M = TypeVar("M", bound=Message)
D = TypeVar("D")
W = TypeVar("W", bound=UnitOfWork)


@dataclass(frozen=True)
class Heard(Generic[M]):
    """A fact that arrived."""

    fact: M
    durable: str
    message_id: str
    resource_id: str
    """Last part of the subject."""
    num_tries: int
    """1 on the first delivery."""

    @asynccontextmanager
    async def once(self, work: WorkFactory[W]) -> AsyncIterator[W]:
        """A unit of work that also notes this fact as done; the caller commits it.

        Raises:
            AlreadyHeard: it was done before. Let it pass: the consumer acknowledges.
        """
        async with work() as w:
            await inbox.record(w, self.durable, self.message_id)
            yield w


@dataclass(frozen=True)
class Hearing(Generic[M, D]):
    """A fact that a service wants to hear, every single one, in order.

    Args:
        durable: ``<service>-<purpose>``; names the place in the stream, so it must never change.
        fact: message type.
        service: who tells it.
        resource: the subject's resource part.
        handle: ``async def on_…(heard, deps)``.
        max_deliver: tries before the fact goes to the dead letters; with the growing delay 30 tries last about 25 minutes.
    """

    durable: str
    fact: type[M]
    service: str
    resource: str
    handle: Callable[[Heard[M], D], Awaitable[None]]
    max_deliver: int = 30


def hear(bus: Bus, hearings: Sequence[Hearing[Any, D]], deps: D) -> list["Consumer"]:
    """The consumers of a service, for ``Service(consumers=…)``.

    Args:
        bus: connected.
        hearings: the service's list.
        deps: handed to each handler.
    """
    return [Consumer(bus, hearing, deps) for hearing in hearings]


class Consumer:
    """Runs one hearing. One message is out at a time, across all processes of the service: that keeps the order."""

    def __init__(self, bus: Bus, hearing: Hearing[Any, Any], deps: Any) -> None:
        self.name = f"hear-{hearing.durable}"
        self._bus = bus
        self._hearing = hearing
        self._deps = deps
        self._ack_wait_seconds = ACK_WAIT_SECONDS

    async def run(self, stopping: asyncio.Event) -> None:
        """Hear until ``stopping`` is set; the fact in hand is finished first."""
        failures = 0
        while not stopping.is_set():
            try:
                subscription = await self._subscribe()
                failures = 0
                try:
                    await self._pull(subscription, stopping)
                finally:
                    await subscription.unsubscribe()
            except BUS_ERRORS as error:
                failures += 1
                log.warning("consumer_waits", durable=self._hearing.durable, error=repr(error))
                await asyncio.sleep(growing_delay(failures, maximum_seconds=5.0))

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        hearing = self._hearing
        stream = event_stream(hearing.service).name
        config = api.ConsumerConfig(
            durable_name=hearing.durable,
            filter_subject=fact_subject(hearing.service, hearing.resource, hearing.fact, ">"),
            deliver_policy=api.DeliverPolicy.ALL,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=self._ack_wait_seconds,
            # Tries are counted here: the server would drop a fact after its own count without a word.
            max_deliver=-1,
            max_ack_pending=1,
        )
        try:
            await self._bus.jetstream.add_consumer(stream, config)
        except APIError:
            await self._bus.declare()
            await self._bus.jetstream.add_consumer(stream, config)
        return await self._bus.jetstream.pull_subscribe_bind(hearing.durable, stream=stream)

    async def _pull(self, subscription: JetStreamContext.PullSubscription, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            try:
                messages = await subscription.fetch(1, timeout=FETCH_SECONDS)
            except nats.errors.TimeoutError:
                # Nothing new, or the consumer is gone: ask, so that a server that lost its state is noticed.
                await subscription.consumer_info()
                continue
            for message in messages:
                await self._deliver(message)

    async def _deliver(self, message: Msg) -> None:
        durable = self._hearing.durable
        if not is_for(message, durable):
            await message.ack()
            return
        with (
            origin_of(message).continued(),
            logs.bind(durable=durable, subject=message.subject),
            traces.span(f"hear {durable}", traces.Kind.CONSUMER, consumed(message, durable)) as span,
        ):
            with metrics.FACT_SECONDS.labels(durable).time():
                async with heartbeat(message, self._ack_wait_seconds / 3):
                    error = await self._handle(message)
            if error is not None:
                span.fail(type(error).__name__)
            outcome = await self._settle(message, error)
            metrics.FACTS.labels(durable, outcome).inc()
            log.info("fact_settled", outcome=outcome)

    async def _handle(self, message: Msg) -> Exception | None:
        heard = Heard(
            fact=self._hearing.fact(),
            durable=self._hearing.durable,
            message_id=message_id(message),
            resource_id=message.subject.rpartition(".")[2],
            num_tries=message.metadata.num_delivered,
        )
        try:
            _read(heard.fact, message)
            await self._hearing.handle(heard, self._deps)
        except AlreadyHeard:
            log.info("fact_already_heard", message_id=heard.message_id)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises decides only about its own fact
            return error
        return None

    async def _settle(self, message: Msg, error: Exception | None) -> str:
        tries = message.metadata.num_delivered
        if error is None:
            await message.ack()
            return "handled"
        if (cause := self._cause(error, tries)) is not None:
            log.error("fact_dead", cause=cause, tries=tries, exc_info=error)
            await bury(self._bus, message, self._hearing.durable, cause, repr(error))
            return "dead"
        delay = growing_delay(tries)
        log.warning("fact_delayed", tries=tries, seconds=delay, error=repr(error))
        await message.nak(delay=delay)
        return "retried"

    def _cause(self, error: Exception, tries: int) -> Cause | None:
        if isinstance(error, DecodeError):
            return Cause.UNREADABLE
        if isinstance(error, HOPELESS):
            return Cause.REFUSED
        return Cause.EXHAUSTED if tries >= self._hearing.max_deliver else None


def _read(fact: Message, message: Msg) -> None:
    """Fill ``fact`` with what arrived.

    Raises:
        DecodeError: other bytes, or a message of another type, which might be read as nonsense without an error.
    """
    expected = fact.DESCRIPTOR.full_name
    given = (message.headers or {}).get(TYPE_HEADER, expected)
    if given != expected:
        raise DecodeError(f"this program reads {expected} here and was sent {given}: a newer program told it, or an older one")
    fact.ParseFromString(message.data)
