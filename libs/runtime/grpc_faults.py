"""Faults at the gRPC edge: fault to ``google.rpc.Status`` with one ``ErrorInfo``, and back."""

import grpc
from google.rpc import error_details_pb2, status_pb2

from libs.runtime import errors
from libs.runtime.errors import Fault, all_faults

DOMAIN = "inkwright"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
HIDDEN_MESSAGE = "Something went wrong inside Inkwright; the log of this request id says what."

_CODES: dict[type[Fault], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Expired: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Gone: grpc.StatusCode.OUT_OF_RANGE,
    errors.NoReadyInstance: grpc.StatusCode.UNAVAILABLE,
    errors.ForwardFailed: grpc.StatusCode.INTERNAL,
    errors.MethodNotAllowed: grpc.StatusCode.UNIMPLEMENTED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
_FAULTS: dict[grpc.StatusCode, type[Fault]] = {
    code: fault for fault, code in _CODES.items() if fault not in (errors.ForwardFailed, errors.MethodNotAllowed)
}


def code_of(fault: type[Fault]) -> grpc.StatusCode:
    """The gRPC status of a fault; a leaf has its nearest mapped ancestor's.

    Raises:
        LookupError: a fault outside the tree's mapped branches.
    """
    for ancestor in fault.__mro__:
        if ancestor in _CODES:
            return _CODES[ancestor]
    raise LookupError(f"{fault.__name__} descends from no fault that gRPC knows")


def status_from_fault(fault: Fault) -> status_pb2.Status:
    """The rich status an edge sends. Of an ``Internal`` fault only its kind is told."""
    number, _ = code_of(type(fault)).value
    hidden = isinstance(fault, errors.Internal)
    info = error_details_pb2.ErrorInfo(reason=fault.reason, domain=DOMAIN, metadata={} if hidden else fault.metadata)
    status = status_pb2.Status(code=number, message=HIDDEN_MESSAGE if hidden else fault.message)
    status.details.add().Pack(info)
    return status


def fault_from_rpc_error(error: grpc.RpcError, peer: str) -> Fault:
    """The fault a failed call stands for, with the peer's reason, message and metadata.

    Args:
        error: what a call of the client library raised.
        peer: the called service, for a message when it could not be reached.

    Returns:
        An instance of the leaf with that reason where this process knows it, else of the nearest fault of its status.
        Either way ``fault.reason`` is the peer's.
    """
    if not isinstance(error, grpc.aio.AioRpcError):
        return errors.Internal(f"A call to {peer} failed: {error!r}", peer=peer)
    code, details = error.code(), error.details() or ""
    info = _error_info(error)
    if info is not None:
        return _rebuilt(code, details, info)
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return errors.NoReadyInstance(f"The {peer} service cannot be reached; wait a moment, then look at its log.", peer=peer)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.Expired(f"The {peer} service did not answer in time; try again.", peer=peer)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            # Our servers always send a reason: without one the library itself refused a message over its size limit.
            return errors.TooLarge(f"A message to or from the {peer} service is too large: {details}", peer=peer, details=details)
        case _:
            fault = _FAULTS.get(code, errors.Internal)
            return fault(f"The {peer} service failed: {code.name}: {details}", peer=peer, details=details)


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return info
    return None


def _rebuilt(code: grpc.StatusCode, message: str, info: error_details_pb2.ErrorInfo) -> Fault:
    known = [fault for fault in all_faults() if fault.reason == info.reason and code_of(fault) == code]
    # Several leaves may inherit one reason; the one nearest to the root says no more than the peer did.
    kind = min(known, key=lambda fault: len(fault.__mro__), default=_FAULTS.get(code, errors.Internal))
    # Past the leaf's own constructor, which may want other arguments than a message.
    fault = kind.__new__(kind)
    Fault.__init__(fault, message)
    fault.metadata = dict(info.metadata)
    vars(fault)["reason"] = info.reason
    return fault
