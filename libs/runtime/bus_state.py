"""How the bus is: its streams, its consumers and what waits in them."""

from dataclasses import dataclass
from typing import Self

from nats.js import api

from libs.runtime import dead_letters
from libs.runtime.bus import Bus

PAGE = 256
"""Consumers that the server lists at once. Each open event stream of the console has a few without a name."""


@dataclass(frozen=True)
class StreamState:
    """One stream of ours."""

    name: str
    num_messages: int
    size_bytes: int
    is_work_queue: bool


@dataclass(frozen=True)
class ConsumerState:
    """One durable consumer.

    Args:
        num_waiting: messages that it has not been given yet.
        num_in_hand: given and not acknowledged.
        num_tried_again: of those in hand, how many were given before.
    """

    durable: str
    stream: str
    num_waiting: int
    num_in_hand: int
    num_tried_again: int


@dataclass(frozen=True)
class BusState:
    """All of it at one moment."""

    streams: tuple[StreamState, ...]
    consumers: tuple[ConsumerState, ...]

    @property
    def num_dead_letters(self) -> int:
        """Messages that were given up on."""
        return sum(stream.num_messages for stream in self.streams if stream.name == dead_letters.STREAM)

    @classmethod
    async def read(cls, bus: Bus) -> Self:
        """Ask the server. Streams under other programs' names and consumers without one are left out.

        Raises:
            nats.errors.Error: the bus is away.
        """
        streams: list[StreamState] = []
        consumers: list[ConsumerState] = []
        for spec in bus.streams:
            info = await bus.jetstream.stream_info(spec.name)
            streams.append(StreamState(spec.name, info.state.messages, info.state.bytes, spec.work_queue))
            for offset in range(0, info.state.consumer_count, PAGE):
                page = await bus.jetstream.consumers_info(spec.name, offset)
                consumers += [_consumer(found) for found in page if found.config.durable_name]
        return cls(tuple(streams), tuple(sorted(consumers, key=lambda consumer: consumer.durable)))


def _consumer(info: api.ConsumerInfo) -> ConsumerState:
    return ConsumerState(
        durable=info.config.durable_name or "",
        stream=info.stream_name,
        num_waiting=info.num_pending or 0,
        num_in_hand=info.num_ack_pending or 0,
        num_tried_again=info.num_redelivered or 0,
    )
