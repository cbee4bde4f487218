"""Faults at the REST edge: one JSON shape, one table."""

from http import HTTPStatus

import orjson
from starlette.responses import Response

from libs.runtime import call_context, errors
from libs.runtime.errors import Fault
from libs.runtime.grpc_faults import HIDDEN_MESSAGE, code_of

_STATUSES: dict[type[Fault], HTTPStatus] = {
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.InvalidInput: HTTPStatus.BAD_REQUEST,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.AlreadyExists: HTTPStatus.CONFLICT,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.WrongState: HTTPStatus.BAD_REQUEST,
    errors.QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Expired: HTTPStatus.GATEWAY_TIMEOUT,
    errors.Gone: HTTPStatus.BAD_REQUEST,
    errors.NoReadyInstance: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ForwardFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.Internal: HTTPStatus.INTERNAL_SERVER_ERROR,
}

RETRY_AFTER_SECONDS = 1


def http_status(fault: type[Fault]) -> int:
    """The HTTP status of a fault; a leaf has its nearest mapped ancestor's.

    Raises:
        LookupError: a fault outside the tree's mapped branches.
    """
    for ancestor in fault.__mro__:
        if ancestor in _STATUSES:
            return int(_STATUSES[ancestor])
    raise LookupError(f"{fault.__name__} descends from no fault that REST knows")


def fault_headers(fault: Fault) -> dict[str, str]:
    """Headers that go with a fault, whatever the shape of its body."""
    match fault:
        case errors.Unauthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case errors.NoReadyInstance() | errors.QueueFull():
            return {"Retry-After": str(RETRY_AFTER_SECONDS)}
        case errors.MethodNotAllowed():
            return {"Allow": fault.metadata.get("allowed", "")}
        case _:
            return {}


def fault_body(fault: Fault) -> dict[str, object]:
    """The JSON object of a fault. Of an ``Internal`` one only its kind is told."""
    hidden = isinstance(fault, errors.Internal)
    return {
        "error": {
            "code": http_status(type(fault)),
            "status": code_of(type(fault)).name,
            "reason": fault.reason,
            "message": HIDDEN_MESSAGE if hidden else fault.message,
            "metadata": {} if hidden else fault.metadata,
            "requestId": call_context.request_id.get() or "",
        }
    }


def fault_response(fault: Fault) -> Response:
    """The whole answer."""
    return Response(orjson.dumps(fault_body(fault)), http_status(type(fault)), headers=fault_headers(fault), media_type="application/json")
