"""One layer around every method: request id, resource, deadline, who calls and whether they may, log line, faults."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc

from libs.runtime import call_context, logs, metrics, traces
from libs.runtime.access_token import AccessKey
from libs.runtime.errors import Fault, Internal, Unauthenticated
from libs.runtime.full_disk import full_disk
from libs.runtime.grpc_faults import STATUS_DETAILS_KEY, status_from_fault
from libs.runtime.method_permission import method_name, permission_of
from libs.runtime.names import check_project
from libs.runtime.peer_channel import AUTHORIZATION_KEY
from libs.runtime.request_resource import resource_of

log = logs.get_logger()

# Generic in the stubs only.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


LOOKING = frozenset({"VIEW", "PREDICT", "INTERNAL_CALL"})
"""Permissions of methods that change nothing a person would be asked about; an internal call is part of a change that is recorded."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method but those of the health service, which everybody may ask.

    Args:
        key: checks the callers' access tokens.
    """

    def __init__(self, key: AccessKey) -> None:
        self._key = key

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See ``grpc.aio.ServerInterceptor``."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith("/grpc.health."):
            return handler
        many_in, many_out = handler.request_streaming, handler.response_streaming
        inner: Any = {
            (False, False): handler.unary_unary,
            (False, True): handler.unary_stream,
            (True, False): handler.stream_unary,
            (True, True): handler.stream_stream,
        }[many_in, many_out]
        make: Any = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[many_in, many_out]
        wrapped = _streaming(self._key, method, inner) if many_out else _single(self._key, method, inner)
        made: Handler = make(wrapped, handler.request_deserializer, handler.response_serializer)
        return made


def _single(key: AccessKey, method: str, inner: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    async def handle(request: Any, context: Context) -> Any:
        with _bound(method, request, context) as call:
            try:
                _let_in(key, method, request, context)
                reply = await inner(request, context)
            except asyncio.CancelledError:
                call.finish("CANCELLED")
                raise
            except Exception as error:
                await call.abort(error, context)
                raise
            call.finish("OK")
            return reply

    return handle


def _streaming(
    key: AccessKey, method: str, inner: Callable[[Any, Context], AsyncIterator[Any]]
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
        with _bound(method, request, context) as call:
            try:
                _let_in(key, method, request, context)
                async for reply in inner(request, context):
                    yield reply
            except (asyncio.CancelledError, GeneratorExit):
                call.finish("CANCELLED")
                raise
            except Exception as error:
                await call.abort(error, context)
                raise
            call.finish("OK")

    return handle


class _Call:
    """The log line, the numbers and the translation of one call."""

    def __init__(self, method: str, span: traces.Span) -> None:
        self._method = method
        self._span = span
        self._began = time.monotonic()

    def finish(self, code: str, **fields: object) -> None:
        """Write the call's line."""
        if caller := call_context.caller.get():
            fields["caller"] = caller.principal
        seconds = time.monotonic() - self._began
        metrics.GRPC_HANDLED.labels(self._method, code).inc()
        metrics.GRPC_SECONDS.labels(self._method).observe(seconds)
        self._span.note("rpc.response.status_code", code)
        if code not in ("OK", "CANCELLED"):
            self._span.fail(code)
        log.info("call_finished", method=self._method, code=code, ms=round(seconds * 1000, 1), **fields)

    async def abort(self, error: Exception, context: Context) -> None:
        """Answer with the fault's status; what is no fault is logged whole and hidden. Raises the library's own abort."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        fault = error if isinstance(error, Fault) else full_disk(error) or Internal(repr(error))
        if isinstance(fault, Internal):
            log.error("call_failed", method=self._method, message=fault.message, exc_info=error)
        status = status_from_fault(fault)
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        self.finish(code.name, reason=fault.reason)
        await context.abort(code, status.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),))


@contextmanager
def _bound(method: str, request: Any, context: Context) -> Iterator[_Call]:
    metadata = dict(context.invocation_metadata() or ())
    request_id = call_context.valid_request_id(metadata.get(call_context.REQUEST_ID_KEY))
    # Each call runs in a task of its own, whose context ends with it: nothing needs to be set back.
    call_context.request_id.set(request_id)
    call_context.traceparent.set(call_context.valid_traceparent(metadata.get(call_context.TRACEPARENT_KEY)))
    call_context.set_deadline(context.time_remaining())
    resource = resource_of(request)
    attributes = {"rpc.system.name": "grpc", "rpc.method": method.removeprefix("/"), "inkwright.resource": resource}
    with (
        logs.bind(request_id=request_id, resource=resource),
        traces.span(method.removeprefix("/"), traces.Kind.SERVER, attributes) as span,
        metrics.GRPC_IN_FLIGHT.labels(method).track_inprogress(),
    ):
        yield _Call(method, span)


def _let_in(key: AccessKey, method: str, request: Any, context: Context) -> None:
    """Note who calls, or refuse.

    Raises:
        Unauthenticated: no access token, or one that is not valid.
        Forbidden: the caller has not the permission that the method carries.
        NotFound: the resource is in a project that does not exist.
    """
    scheme, _, token = str(dict(context.invocation_metadata() or ()).get(AUTHORIZATION_KEY, "")).partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("The call has no access token; send it as the metadata `authorization: Bearer <token>`.")
    caller, permission, resource = key.caller(token.strip()), permission_of(method), resource_of(request)
    call_context.caller.set(caller)
    caller.require(permission)
    check_project(resource)
    if permission not in LOOKING:
        call_context.change.set(call_context.Change(method_name(method), resource, permission, caller))
