"""Key-value buckets on the bus whose entries vanish when nobody renews them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import nats.errors
from nats.js import api
from nats.js.errors import BadRequestError, KeyNotFoundError
from nats.js.kv import KV_DEL, KV_PURGE
from nats.js.kv import KeyValue as Bucket

from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.logs import get_logger

log = get_logger()

RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class KeyChange:
    """What happened to a key: its new value, or ``None`` when it was deleted or ran out."""

    key: str
    value: bytes | None


class KeyValue:
    """A bucket. Keys are subject tokens joined by dots."""

    def __init__(self, bus: Bus, bucket: Bucket) -> None:
        self._bus = bus
        self._bucket = bucket

    @classmethod
    async def open(cls, bus: Bus, name: str, *, ttl_seconds: float) -> Self:
        """The bucket of this name, created when it does not exist.

        Args:
            bus: connected.
            name: letters, digits, ``_``, ``-``.
            ttl_seconds: an entry not put again for so long vanishes, and watchers hear of it; at least 1.

        Raises:
            nats.errors.Error: the server refuses or does not answer.
        """
        config = api.KeyValueConfig(bucket=name, ttl=ttl_seconds, limit_marker_ttl=max(1.0, ttl_seconds), replicas=bus.replicas)
        try:
            bucket = await bus.jetstream.create_key_value(config)
        except BadRequestError:
            bucket = await bus.jetstream.key_value(name)
        return cls(bus, bucket)

    async def put(self, key: str, value: bytes) -> None:
        """Set or renew.

        Raises:
            nats.errors.Error: not stored.
        """
        await self._bucket.put(key, value)

    async def get(self, key: str) -> bytes | None:
        """The value, ``None`` without one."""
        try:
            return (await self._bucket.get(key)).value
        except KeyNotFoundError:
            return None

    async def delete(self, key: str) -> None:
        """Delete; watchers hear of it."""
        await self._bucket.delete(key)

    async def watch(self) -> AsyncGenerator[KeyChange | None, None]:
        """Every present entry, then one ``None`` that says "these were all", then each change.

        After the connection was lost the watch begins again, so entries and the ``None`` may come once more.
        """
        while True:
            reconnects = self._bus.client.stats["reconnects"]
            try:
                watcher = await self._bucket.watchall()
            except BUS_ERRORS as error:
                log.warning("watch_waits", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                while self._bus.client.stats["reconnects"] == reconnects:
                    try:
                        entry = await watcher.updates(timeout=RETRY_SECONDS)  # type: ignore[no-untyped-call]
                    except nats.errors.TimeoutError:
                        continue
                    if entry is None:
                        yield None
                    else:
                        gone = entry.operation in (KV_DEL, KV_PURGE)
                        yield KeyChange(entry.key, None if gone else entry.value)
            finally:
                with suppress(*BUS_ERRORS):
                    await watcher.stop()  # type: ignore[no-untyped-call]
