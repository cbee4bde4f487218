"""One image to one instance: the least busy first, another one only when nothing was computed."""

import asyncio

import grpc

from gateway.public.routing import Instance, RoutingTable
from inkwright.inference.v1 import instance_service_pb2, instance_service_pb2_grpc
from libs.runtime import grpc_client
from libs.runtime.errors import Fault, Internal, NoReadyInstance, QueueFull
from libs.runtime.grpc_faults import STATUS_DETAILS_KEY
from libs.runtime.logs import get_logger

log = get_logger()

_NO_CONNECTION = "failed to connect to all addresses"
"""How the gRPC library begins its message when a call never left this process."""


class Forwarder:
    """Sends images to the instances of a routing table.

    Args:
        timeout_seconds: for one image.
        connect_timeout_seconds: after which an instance that takes no connection is set aside.
    """

    def __init__(self, table: RoutingTable, *, timeout_seconds: float, connect_timeout_seconds: float) -> None:
        self._table = table
        self._timeout_seconds = timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds

    async def predict(self, deployment_id: str, image: bytes) -> instance_service_pb2.PredictResponse:
        """Read one image.

        Raises:
            NoReadyInstance: no instance could be reached, or each said that it takes nothing.
            QueueFull: every instance's queue is full.
            Internal: the instance died with the image in its hands. Not tried elsewhere: the image may be what killed it.
            Fault: what the instance raised.
        """
        refusal: Fault = NoReadyInstance(
            f"No instance of {deployment_id!r} is ready; look at its state, wait while it starts, or start it if it is stopped.",
            deployment=deployment_id,
        )
        tried: set[Instance] = set()
        while (instance := self._table.pick(deployment_id, tried)) is not None:
            tried.add(instance)
            if not await self._is_connected(instance):
                self._table.set_aside(instance)
                continue
            try:
                reply = await self._ask(instance, image)
            except (NoReadyInstance, QueueFull) as fault:
                if _told_by_instance(fault):
                    refusal = fault
                elif _never_left(fault):
                    self._table.set_aside(instance)
                else:
                    raise Internal(f"Instance {instance.key} went away with a request in flight") from fault
                continue
            if reply.bundle_digest != instance.bundle_digest:
                # Another process listens there by now; its answer is another model's.
                log.error("instance_is_another", instance=instance.key, endpoint=instance.endpoint)
                self._table.set_aside(instance)
                continue
            return reply
        raise refusal

    async def _ask(self, instance: Instance, image: bytes) -> instance_service_pb2.PredictResponse:
        stub = instance_service_pb2_grpc.InstanceServiceStub(instance.channel)
        request = instance_service_pb2.PredictRequest(image=image)
        instance.num_outstanding += 1
        try:
            return await grpc_client.call(stub.Predict, request, deadline_seconds=self._timeout_seconds)
        finally:
            instance.num_outstanding -= 1

    async def _is_connected(self, instance: Instance) -> bool:
        """Whether there is a connection, waiting for the one being made."""
        channel = instance.channel
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                    if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                        return False
                    await channel.wait_for_state_change(state)
        except TimeoutError:
            return False
        return True


def _told_by_instance(fault: Fault) -> bool:
    """Whether the fault is the instance's own word, which it gives before it computes anything."""
    error = fault.__cause__
    return isinstance(error, grpc.aio.AioRpcError) and any(key == STATUS_DETAILS_KEY for key, _ in error.trailing_metadata() or ())


def _never_left(fault: Fault) -> bool:
    error = fault.__cause__
    return isinstance(error, grpc.aio.AioRpcError) and (error.details() or "").startswith(_NO_CONNECTION)
