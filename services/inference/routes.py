"""What the gateway must know of each public deployment, kept in the bus's bucket equal to the database."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import aclosing
from typing import Final

from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.errors import NoReadyInstance
from libs.runtime.key_value import KeyValue
from libs.runtime.logs import get_logger
from libs.runtime.waiting import first_of
from services.inference.convert import route_to_proto
from services.inference.domain import Deployment, Purpose
from services.inference.store import Work

log = get_logger()

DEPLOYMENTS_BUCKET: Final = "deployments"
"""Key-value bucket of the routes; they never expire, so that calls go on while this service is away."""
TICK_SECONDS = 2.0
REPAIR_SECONDS = 60.0
READ_SECONDS = 10.0


class Routes:
    """Writes routes after commits, beside the callers' way, for as long as it takes.

    At its start and once a minute the whole bucket is read and repaired: entries of deployments that are gone are deleted.
    """

    name = "routes"

    def __init__(self, bus: Bus, work: Work) -> None:
        self._bus = bus
        self._work = work
        self._bucket: KeyValue | None = None
        self._written: dict[str, bytes] | None = None
        self._repaired = 0.0
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Look at the deployments again soon."""
        self._changed.set()

    def is_gone(self, deployment_id: str) -> bool:
        """Whether the bucket surely holds no route of this deployment."""
        return self._written is not None and deployment_id not in self._written

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep the bucket equal to the database until ``stopping`` is set."""
        while not stopping.is_set():
            self._changed.clear()
            try:
                await self.write()
            except (*BUS_ERRORS, NoReadyInstance) as error:
                log.warning("routes_wait", error=repr(error))
                # The server may have lost its state: begin from what it has.
                self._bucket, self._written = None, None
            await first_of(stopping, self._changed, timeout_seconds=TICK_SECONDS)

    async def write(self) -> None:
        """Make the bucket equal once.

        Raises:
            nats.errors.Error: the bus cannot be reached.
        """
        async with self._work(read_only=True) as w:
            wanted = wanted_routes(await w.deployments.all())
        if self._written is None or time.monotonic() - self._repaired > REPAIR_SECONDS:
            self._written = await self._read()
            self._repaired = time.monotonic()
        written, bucket = self._written, await self._open()
        for deployment_id in written.keys() - wanted.keys():
            await bucket.delete(deployment_id)
            del written[deployment_id]
        for deployment_id, route in wanted.items():
            if written.get(deployment_id) != route:
                await bucket.put(deployment_id, route)
                written[deployment_id] = route

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await KeyValue.open(self._bus, DEPLOYMENTS_BUCKET, ttl_seconds=0)
        return self._bucket

    async def _read(self) -> dict[str, bytes]:
        bucket = await self._open()
        entries: dict[str, bytes] = {}
        async with asyncio.timeout(READ_SECONDS), aclosing(bucket.watch()) as changes:
            async for change in changes:
                if change is None:
                    break
                if change.value is None:
                    entries.pop(change.key, None)
                else:
                    entries[change.key] = change.value
        return entries


def wanted_routes(deployments: Iterable[Deployment]) -> dict[str, bytes]:
    """The entry of each public deployment; a stopped one keeps its address, one that is being deleted loses it at once."""
    return {
        deployment.deployment_id: route_to_proto(deployment).SerializeToString(deterministic=True)
        for deployment in deployments
        if deployment.purpose is Purpose.PUBLIC and not deployment.is_deleting
    }
