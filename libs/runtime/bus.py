"""The bus: one JetStream connection, streams declared in code, publishing with an acknowledgement."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import nats.errors
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.js import JetStreamContext, api
from nats.js.errors import BadRequestError, NoStreamResponseError, ServiceUnavailableError

from libs.runtime.logs import get_logger
from libs.runtime.subjects import DEAD_PREFIX, EVENT_PREFIX, fact_subject

log = get_logger()

MESSAGE_ID_HEADER: Final = "Nats-Msg-Id"
TYPE_HEADER: Final = "Inkwright-Type"
PUBLISH_TIMEOUT_SECONDS = 5.0
DAY_SECONDS = 86400.0

BUS_ERRORS: Final = (nats.errors.Error, TimeoutError, OSError, RuntimeError)
"""What a bus that is away raises. ``RuntimeError`` is how uvloop answers a write to a connection it has closed; nats-py lets it
through in the moments before it notices the loss itself."""

_STREAM_EXISTS_WITH_OTHER_SETTINGS = 10058

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class StreamSpec:
    """A stream that must exist.

    Args:
        name: of the stream.
        subjects: what it keeps.
        work_queue: whether a message is gone once a consumer acknowledged it.
        max_age_seconds: how long messages are kept at most; 0 for ever.
        duplicate_window_seconds: how long a repeated ``Nats-Msg-Id`` is noticed.
    """

    name: str
    subjects: tuple[str, ...]
    work_queue: bool = False
    max_age_seconds: float = 7 * DAY_SECONDS
    duplicate_window_seconds: float = 600.0

    def config(self, replicas: int = 1) -> api.StreamConfig:
        """The form the server wants; ``replicas`` copies on as many servers of a cluster."""
        return api.StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            retention=api.RetentionPolicy.WORK_QUEUE if self.work_queue else api.RetentionPolicy.LIMITS,
            storage=api.StorageType.FILE,
            max_age=self.max_age_seconds,
            duplicate_window=self.duplicate_window_seconds,
            num_replicas=replicas,
        )


def event_stream(service: str) -> StreamSpec:
    """The stream of a service's facts."""
    return StreamSpec(f"EVT_{service.upper()}", (f"{EVENT_PREFIX}.{service}.>",))


STREAMS: Final = (
    *(event_stream(service) for service in ("dataset", "labeling", "trainer", "inference", "gateway")),
    StreamSpec("JOBS_TRAIN", ("jobs.train.>",), work_queue=True, max_age_seconds=0),
    StreamSpec("JOBS_PREDICT", ("jobs.predict.>",), work_queue=True, max_age_seconds=DAY_SECONDS),
    StreamSpec("DEAD", (f"{DEAD_PREFIX}.>",), max_age_seconds=30 * DAY_SECONDS),
)
"""Every stream of the installation. Each process declares all of them, so it does not matter which starts first."""


class Bus:
    """One connection. It comes back by itself for ever; what is asked of it meanwhile fails or waits as each method says."""

    def __init__(self, client: Client, streams: Sequence[StreamSpec], *, replicas: int = 1) -> None:
        self.client = client
        self.replicas = replicas
        """Copies that a cluster keeps of each stream and bucket."""
        self.jetstream: JetStreamContext = client.jetstream(timeout=PUBLISH_TIMEOUT_SECONDS)
        self.streams = streams

    @classmethod
    async def connect(cls, url: str, *, name: str, streams: Sequence[StreamSpec] = STREAMS, replicas: int = 1) -> Self:
        """Connect, waiting for the server as long as it takes, and declare the streams.

        Args:
            url: ``nats://host:port``, several separated by commas.
            name: of this process, for the server's monitoring.
            streams: what must exist.
            replicas: copies of each, on as many servers of a cluster; those that exist are brought to it.
        """

        async def on_error(error: Exception) -> None:
            log.warning("bus_error", error=repr(error))

        async def on_disconnect() -> None:
            if not client.is_closed:
                log.warning("bus_disconnected")

        async def on_reconnect() -> None:
            log.info("bus_reconnected")

        client = Client()
        await client.connect(
            url.split(","),
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=2,
            error_cb=on_error,
            disconnected_cb=on_disconnect,
            reconnected_cb=on_reconnect,
        )
        bus = cls(client, streams, replicas=replicas)
        try:
            await bus._declare_when_ready()
        except BaseException:
            await bus.close()
            raise
        return bus

    @property
    def is_connected(self) -> bool:
        """Whether the server is there at this moment."""
        return self.client.is_connected

    @property
    def server_version(self) -> str:
        """Of nats-server; empty without a connection."""
        version = self.client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}" if self.is_connected else ""

    async def _declare_when_ready(self) -> None:
        while True:
            try:
                return await self.declare()
            except (TimeoutError, nats.errors.TimeoutError, ServiceUnavailableError) as error:
                # A cluster that has just started, or lost a server, chooses its leaders for some seconds.
                log.warning("bus_not_ready", error=repr(error))
                await asyncio.sleep(1)

    async def declare(self) -> None:
        """Create the streams, or bring them to today's settings.

        Raises:
            nats.errors.Error: the server refuses or does not answer.
        """
        for spec in self.streams:
            config = spec.config(self.replicas)
            try:
                await self.jetstream.add_stream(config)
            except BadRequestError as error:
                if error.err_code != _STREAM_EXISTS_WITH_OTHER_SETTINGS:
                    raise
                await self.jetstream.update_stream(config)

    async def publish(self, subject: str, payload: bytes, *, message_id: str, headers: Mapping[str, str] | None = None) -> None:
        """Publish and wait for the stream's acknowledgement; the caller retries.

        Raises:
            nats.errors.Error: no acknowledgement. The message may be stored all the same: retry with the same id.
        """
        try:
            await self.jetstream.publish(subject, payload, headers={**(headers or {}), MESSAGE_ID_HEADER: message_id})
        except NoStreamResponseError:
            # The server lost its state, or runs with a fresh one: put the streams back for the retry.
            await self.declare()
            raise

    async def follow(self, fact: type[M], *, service: str, resource: str, id: str = ">") -> AsyncIterator[M]:
        """Facts as they pass by, from now on: for live pages. Nothing is replayed and a slow reader loses facts.

        Args:
            fact: which fact.
            service: who tells it.
            resource: the subject's resource part.
            id: of one resource, or ``>`` for all.
        """
        subscription = await self.client.subscribe(fact_subject(service, resource, fact, id))
        try:
            async for message in subscription.messages:
                yield fact.FromString(message.data)
        finally:
            with suppress(*BUS_ERRORS):
                await subscription.unsubscribe()

    async def close(self) -> None:
        """Send what is buffered, then close."""
        if not self.client.is_closed:
            # A server that is gone must not keep its callers from going.
            with suppress(*BUS_ERRORS):
                if self.is_connected:
                    await self.client.flush(timeout=2)
            with suppress(*BUS_ERRORS):
                await self.client.close()
