"""Facts of one service's stream after a position, without a gap and without leaving anything behind on the server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import nats.errors
from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from libs.runtime.bus import BUS_ERRORS, Bus, event_stream
from libs.runtime.dead_letters import is_replayed
from libs.runtime.errors import Gone
from libs.runtime.logs import get_logger
from libs.runtime.subjects import fact_subject, snake_case

log = get_logger()

BATCH = 100
WAIT_SECONDS = 5.0
RETRY_SECONDS = 0.5
IDLE_SECONDS = 60.0
"""After which the server forgets a consumer that nobody asks."""


@dataclass(frozen=True)
class Passed:
    """A fact and its place in the stream."""

    sequence: int
    fact: Message


class FactTail:
    """Follows some kinds of facts of one service.

    Args:
        service: who tells them.
        facts: which ones.
    """

    def __init__(self, bus: Bus, service: str, facts: Sequence[type[Message]]) -> None:
        self.service = service
        self._bus = bus
        self._stream = event_stream(service).name
        self._subjects = [fact_subject(service, "*", fact, ">") for fact in facts]
        self._facts = {snake_case(fact.DESCRIPTOR.name): fact for fact in facts}

    async def position(self, resume_after: int | None) -> int:
        """The sequence to follow after: the given one, or the stream's last.

        Raises:
            Gone: facts after the given one are no longer kept, or never were.
            nats.errors.Error: the server is not there.
        """
        state = (await self._bus.jetstream.stream_info(self._stream)).state
        if resume_after is None:
            return state.last_seq
        if not state.first_seq - 1 <= resume_after <= state.last_seq:
            raise Gone(
                f"Event {resume_after} of {self.service} is no longer kept; read the resources again and connect without Last-Event-ID.",
                service=self.service,
                sequence=resume_after,
                first_sequence=state.first_seq,
            )
        return resume_after

    async def follow(self, after: int) -> AsyncGenerator[Passed]:
        """Every fact after ``after``, for ever; a lost server is waited for."""
        while True:
            try:
                consumer = await self._consumer(after)
                async for passed in self._deliveries(consumer):
                    yield passed
                    after = passed.sequence
            except BUS_ERRORS as error:
                log.warning("tail_waits", service=self.service, error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _consumer(self, after: int) -> JetStreamContext.PullSubscription:
        config = api.ConsumerConfig(
            filter_subjects=self._subjects,
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=api.AckPolicy.NONE,
            inactive_threshold=IDLE_SECONDS,
            mem_storage=True,
        )
        info = await self._bus.jetstream.add_consumer(self._stream, config)
        return await self._bus.jetstream.pull_subscribe_bind(consumer=info.name, stream=self._stream)

    async def _deliveries(self, subscription: JetStreamContext.PullSubscription) -> AsyncIterator[Passed]:
        """Until the consumer is lost."""
        reconnects = self._bus.client.stats["reconnects"]
        try:
            # A consumer in memory dies with its server; a fetch on it would wait for ever without an error.
            while self._bus.client.stats["reconnects"] == reconnects:
                with suppress(nats.errors.TimeoutError):
                    for message in await subscription.fetch(BATCH, timeout=WAIT_SECONDS):
                        # What is replayed for one consumer is no news.
                        if not is_replayed(message):
                            yield self._passed(message)
        finally:
            with suppress(*BUS_ERRORS):
                await subscription.unsubscribe()

    def _passed(self, message: Msg) -> Passed:
        kind = message.subject.split(".")[5]
        return Passed(message.metadata.sequence.stream, self._facts[kind].FromString(message.data))
