"""The gRPC side of a service: server, interceptor, health, reflection, graceful stop."""

from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from inkwright.common.v1 import process_service_pb2
from inkwright.common.v1.process_service_pb2_grpc import add_ProcessServiceServicer_to_server
from libs.runtime.grpc_interceptor import CallInterceptor
from libs.runtime.logs import get_logger
from libs.runtime.process import ProcessApi
from libs.runtime.trust import Trust

log = get_logger()

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_CONNECTION_AGE_MS = 300_000
CHANNEL_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]

S = TypeVar("S")


class GrpcServer:
    """A server with the house's interceptor, health and reflection.

    Add the servicers, hand it to ``run_service``; in between it does nothing by itself. ``Service`` there calls
    ``start``, ``stop_serving`` and ``stop``.

    Args:
        address: ``host:port``; port 0 picks a free one.
        trust: what callers are checked with. Only health answers strangers.
    """

    name = "grpc"

    def __init__(self, address: str, trust: Trust) -> None:
        self.address = address
        self._tls = trust.tls
        self._health = health.aio.HealthServicer()
        self._services: list[str] = []
        # With port reuse a second process on the same port would silently take half of the calls.
        # A caller looks again who stands behind a name when a connection ends; calls in it are finished first, however long they take.
        options = [*CHANNEL_OPTIONS, ("grpc.so_reuseport", 0), ("grpc.max_connection_age_ms", MAX_CONNECTION_AGE_MS)]
        self._server = grpc.aio.server(interceptors=[CallInterceptor(trust.key)], options=options)
        self._server.add_registered_method_handlers = _leave_to_names  # type: ignore[method-assign]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.add(add_ProcessServiceServicer_to_server, ProcessApi(), process_service_pb2.DESCRIPTOR)

    def add(self, add_servicer: Callable[[S, grpc.aio.Server], None], servicer: S, file: FileDescriptor) -> None:
        """Serve ``servicer``: ``server.add(add_DatasetServiceServicer_to_server, servicer, dataset_service_pb2.DESCRIPTOR)``.

        Args:
            add_servicer: the generated function.
            servicer: the implementation.
            file: the proto file that defines the service, for health and reflection.
        """
        add_servicer(servicer, self._server)
        self._services += [service.full_name for service in file.services_by_name.values()]

    async def start(self) -> None:
        """Bind, serve and say so; ``address`` then holds the real port.

        Raises:
            OSError: the address cannot be bound.
        """
        reflection.enable_server_reflection([*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        try:
            if self._tls is None:
                port = self._server.add_insecure_port(self.address)
            else:
                port = self._server.add_secure_port(self.address, self._tls.server_credentials())
        except RuntimeError as error:
            raise OSError(f"{self.address} cannot be bound; another process may hold the port") from error
        self.address = f"{self.address.rpartition(':')[0]}:{port}"
        await self._server.start()
        for service in ("", *self._services):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        log.info("grpc_serving", address=self.address)

    async def stop_serving(self) -> None:
        """Tell health checks that no new calls are wanted; calls are still answered."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, let running ones finish within the grace, cancel the rest."""
        await self._server.stop(grace_seconds)


def _leave_to_names(service_name: str, method_handlers: object) -> None:
    """What generated code registers method by method: the handler that it adds as well finds them all by their names.

    Of each registered method the library awaits the next call by itself. When it stops, those of these waits that end first, without a
    call, make it forget the others, and with them a call that was accepted a moment ago: its caller heard nothing until the grace was
    over (grpcio 1.85; once in 200 stops under load). What a single wait for all methods brings is dealt with.
    """
