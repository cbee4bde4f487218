"""How an instance makes itself known: an entry in the bus's bucket that vanishes when it is not renewed."""

import asyncio
import sys
from collections.abc import Callable

from inkwright.inference.v1 import instance_service_pb2
from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.key_value import KeyValue
from libs.runtime.logs import get_logger
from libs.runtime.names import DEPLOYMENT
from libs.runtime.times import to_timestamp, utc_now
from services.inference.instance.orders import INSTANCES_BUCKET, REGISTRATION_TTL_SECONDS, Orders, Told

log = get_logger()

RENEW_SECONDS = 2.0


class Registration:
    """Renews the entry every 2 s; callers are served whether or not that works.

    The instance counts as ready, for whoever started it, when the first entry stands: earlier nobody would find it.

    Args:
        bus: connected, or trying to.
        orders: of this instance.
        engine: what runs the model.
        warm_up_error: told with the first line on stdout.
        num_in_flight: asked at each renewal.
        metrics_endpoint: asked at each renewal too; told on stdout alone.
    """

    name = "registration"

    def __init__(
        self,
        bus: Bus,
        orders: Orders,
        *,
        engine: str,
        warm_up_error: str,
        num_in_flight: Callable[[], int],
        metrics_endpoint: Callable[[], str],
    ) -> None:
        self._bus = bus
        self._orders = orders
        self._engine = engine
        self._warm_up_error = warm_up_error
        self._num_in_flight = num_in_flight
        self._metrics_endpoint = metrics_endpoint
        self._endpoint = ""
        self._listening = asyncio.Event()
        self._withdrawn = asyncio.Event()
        self._bucket: KeyValue | None = None
        self._told: Told | None = None
        self._key = f"{DEPLOYMENT.parse(orders.deployment)['deployment']}.{orders.instance_id}"

    def listen_at(self, endpoint: str) -> None:
        """Begin to register; ``host:port`` of the gRPC server."""
        self._endpoint = endpoint
        self._listening.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Renew until withdrawn; ``stopping`` comes after that."""
        await self._listening.wait()
        while not self._withdrawn.is_set() and not stopping.is_set():
            try:
                await self._renew()
            except BUS_ERRORS as error:
                log.warning("registration_waits", error=repr(error))
                # The server may have lost its state, the bucket with it.
                self._bucket = None
            await self._pause()

    async def withdraw(self) -> None:
        """Take the entry away: no new caller comes."""
        self._withdrawn.set()
        self._listening.set()
        if self._bucket is None:
            return
        try:
            async with asyncio.timeout(1.0):
                await self._bucket.delete(self._key)
        except BUS_ERRORS as error:
            log.warning("withdrawal_left_to_expiry", error=repr(error))

    async def _renew(self) -> None:
        if self._bucket is None:
            self._bucket = await KeyValue.open(self._bus, INSTANCES_BUCKET, ttl_seconds=REGISTRATION_TTL_SECONDS)
        num_in_flight = self._num_in_flight()
        entry = instance_service_pb2.InstanceRegistration(
            deployment=self._orders.deployment,
            instance_id=self._orders.instance_id,
            endpoint=self._endpoint,
            bundle_digest=self._orders.bundle_digest,
            num_in_flight=num_in_flight,
            update_time=to_timestamp(utc_now()),
            engine=self._engine,
        )
        await self._bucket.put(self._key, entry.SerializeToString())
        if self._withdrawn.is_set():
            # A renewal was on its way while the entry was taken away.
            await self._bucket.delete(self._key)
            return
        self._tell(
            Told(
                endpoint=self._endpoint,
                engine=self._engine,
                warm_up_error=self._warm_up_error,
                num_in_flight=num_in_flight,
                metrics_endpoint=self._metrics_endpoint(),
            )
        )

    def _tell(self, told: Told) -> None:
        if told != self._told:
            self._told = told
            sys.stdout.write(told.model_dump_json() + "\n")
            sys.stdout.flush()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                await self._withdrawn.wait()
        except TimeoutError:
            return
