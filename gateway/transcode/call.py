"""Calls of any method by its descriptor, without generated stubs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.transcode.rules import rpc_path
from libs.runtime import call_context, grpc_client
from libs.runtime.grpc_interceptor import LOOKING
from libs.runtime.method_permission import permission_of
from libs.runtime.request_resource import resource_of
from libs.runtime.trust import Credentials

OWN_SERVICE = "gateway"


class Peers:
    """The four services, by name: one channel each, connected when first used; and the gateway's own methods.

    Args:
        addresses: ``host:port`` by service name.
        credentials: shown to the services.
        own: for each of the gateway's services, by its short name, what has an ``async def`` for each method, from request to reply.
    """

    def __init__(self, addresses: Mapping[str, str], credentials: Credentials, own: Mapping[str, object]) -> None:
        self._own = own
        self._channels = {service: grpc_client.connect(address, credentials) for service, address in addresses.items()}
        self._methods: dict[str, Any] = {}

    async def call(self, method: MethodDescriptor, request: Message, *, deadline_seconds: float) -> Message:
        """Call a unary method.

        Raises:
            Fault: what the service raised; ``NoReadyInstance`` when it cannot be reached, ``Expired`` after the deadline.
        """
        reply: Message
        if _service(method) == OWN_SERVICE:
            reply = await self._call_own(method, request)
        else:
            reply = await grpc_client.call(self._callable(method), request, deadline_seconds=deadline_seconds)
        return reply

    async def _call_own(self, method: MethodDescriptor, request: Message) -> Message:
        permission, caller = permission_of(rpc_path(method)), call_context.caller.get()
        if permission not in LOOKING and caller is not None:
            call_context.change.set(call_context.Change(method.full_name, resource_of(request), permission, caller))
        reply: Message = await getattr(self._own[method.containing_service.name], method.name)(request)
        return reply

    def stream(self, method: MethodDescriptor, request: Message) -> AsyncIterator[Any]:
        """The replies of a server-streaming method; faults as ``call``."""
        return grpc_client.stream(self._callable(method), request)

    async def upload(self, method: MethodDescriptor, requests: AsyncIterator[Message]) -> Message:
        """Call a client-streaming method; faults as ``call``, and whatever ``requests`` raises."""
        failures: list[Exception] = []

        async def watched() -> AsyncIterator[Message]:
            try:
                async for request in requests:
                    yield request
            except Exception as error:
                failures.append(error)
                raise

        try:
            reply: Message = await grpc_client.upload(self._callable(method), watched())
        except asyncio.CancelledError:
            # The library cancels a call whose requests raise, and says only that it was cancelled.
            if failures:
                raise failures[0] from None
            raise
        return reply

    async def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            await channel.close()

    def _callable(self, method: MethodDescriptor) -> Any:
        path = rpc_path(method)
        made = self._methods.get(path)
        if made is None:
            channel = self._channels[_service(method)]
            make = {
                (False, False): channel.unary_unary,
                (False, True): channel.unary_stream,
                (True, False): channel.stream_unary,
            }[method.client_streaming, method.server_streaming]
            made = self._methods[path] = make(
                path,
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=partial(_parse, GetMessageClass(method.output_type)),
            )
        return made


def _service(method: MethodDescriptor) -> str:
    name: str = method.containing_service.file.package.split(".")[1]
    return name


def _parse(kind: type[Message], data: bytes) -> Message:
    return kind.FromString(data)


def method_named(service: Any, name: str) -> MethodDescriptor:
    """A method of a generated file's service: ``method_named(dataset_service_pb2.DESCRIPTOR, "ReadImage")``.

    Raises:
        KeyError: there is none.
    """
    for descriptor in service.services_by_name.values():
        if name in descriptor.methods_by_name:
            found: MethodDescriptor = descriptor.methods_by_name[name]
            return found
    raise KeyError(name)
