"""Builds an instance from its orders and runs it until SIGTERM."""

import asyncio
import sys

from inkwright.inference.v1 import instance_service_pb2
from inkwright.inference.v1.instance_service_pb2_grpc import add_InstanceServiceServicer_to_server
from libs.runtime.bus import Bus
from libs.runtime.errors import Fault
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.logs import configure_logs, get_logger
from libs.runtime.metrics_door import listener
from libs.runtime.service import Service, run_service
from libs.runtime.traces import configure_traces
from services.inference.instance.metrics import IN_FLIGHT
from services.inference.instance.orders import Orders
from services.inference.instance.page_reader import PageReader, Reading
from services.inference.instance.reading_queue import ReadingQueue
from services.inference.instance.registration import Registration
from services.inference.instance.servicer import InstanceServicer

log = get_logger()

SETTLE_SECONDS = 0.3
"""Between taking the entry away and refusing calls: those who picked this instance a moment ago still reach it."""


class InstanceDoor:
    """The gRPC server with its queue; known to callers while it is open."""

    name = "instance"

    def __init__(self, server: GrpcServer, queue: ReadingQueue[Reading], registration: Registration) -> None:
        self._server = server
        self._queue = queue
        self._registration = registration

    async def start(self) -> None:
        """Serve, then be found."""
        self._queue.start()
        await self._server.start()
        self._registration.listen_at(self._server.address)

    async def stop_serving(self) -> None:
        """Be found no more."""
        await self._registration.withdraw()
        await asyncio.sleep(SETTLE_SECONDS)
        await self._server.stop_serving()

    async def stop(self, grace_seconds: float) -> None:
        """Finish what is held within the grace."""
        await self._server.stop(grace_seconds)
        await self._queue.stop()


async def build() -> Service:
    """Everything an instance is made of, warmed up."""
    orders = Orders.model_validate_json(sys.stdin.readline())
    configure_logs("instance", level=orders.log_level, log_format=orders.log_format)
    configure_traces("instance", orders.otlp_endpoint)
    log.info("instance_starting", deployment=orders.deployment, instance_id=orders.instance_id, bundle_digest=orders.bundle_digest)
    try:
        reader = await asyncio.to_thread(PageReader.load, orders)
    except Fault as fault:
        log.critical("bundle_refused", message=fault.message)
        raise
    warm_up_error = await asyncio.to_thread(reader.warm_up)
    bus = await Bus.connect(orders.nats_url, name=f"instance-{orders.instance_id}", streams=())
    queue = ReadingQueue(reader.read, size=orders.queue_size)
    IN_FLIGHT.set_function(lambda: queue.num_in_flight)
    metrics = listener(orders.metrics_address, orders.metrics_token, {})
    registration = Registration(
        bus,
        orders,
        engine=reader.engine_name,
        warm_up_error=warm_up_error,
        num_in_flight=lambda: queue.num_in_flight,
        metrics_endpoint=lambda: metrics[0].address if metrics else "",
    )
    server = GrpcServer(f"{orders.host}:0", orders.trust)
    servicer = InstanceServicer(queue, bundle_digest=orders.bundle_digest, max_image_bytes=orders.max_image_bytes)
    server.add(add_InstanceServiceServicer_to_server, servicer, instance_service_pb2.DESCRIPTOR)
    return Service(
        name="instance",
        # The metrics first: their port is told with the instance's own.
        doors=[*metrics, InstanceDoor(server, queue, registration)],
        workers=[registration],
        closers=[bus.close],
        grace_seconds=orders.drain_seconds,
    )


if __name__ == "__main__":
    run_service(build)
