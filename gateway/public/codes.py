"""Faults at the public API's edge: PAI's codes where it has one, the HTTP code elsewhere."""

from dataclasses import dataclass

from gateway.rest_faults import fault_headers
from libs.runtime import errors
from libs.runtime.errors import Fault
from libs.runtime.grpc_faults import HIDDEN_MESSAGE


@dataclass(frozen=True)
class Code:
    """One row of the table: HTTP status, ``errorCode``, ``errorMsg``."""

    http_status: int
    number: int
    constant: str


INPUT_FORMAT_ERROR = Code(400, 1001, "INPUT_FORMAT_ERROR")
IMAGE_DECODE_ERROR = Code(400, 1002, "IMAGE_DECODE_ERROR")
UNKNOWN_ERROR = Code(500, 2001, "UNKNOWN_ERROR")
GET_INSTANCE_ERROR = Code(503, 2002, "GET_INSTANCE_ERROR")
MODEL_FORWARD_ERROR = Code(500, 2003, "MODEL_FORWARD_ERROR")

_CODES: dict[type[Fault], Code] = {
    errors.TooLarge: Code(413, 1001, "INPUT_FORMAT_ERROR"),
    errors.ImageUndecodable: IMAGE_DECODE_ERROR,
    errors.InvalidInput: INPUT_FORMAT_ERROR,
    errors.Unauthenticated: Code(401, 401, "UNAUTHORIZED"),
    errors.Forbidden: Code(403, 403, "FORBIDDEN"),
    errors.NotFound: Code(404, 404, "NOT_FOUND"),
    errors.MethodNotAllowed: Code(405, 405, "METHOD_NOT_ALLOWED"),
    errors.Expired: Code(408, 408, "REQUEST_TIMEOUT"),
    errors.RateLimited: Code(429, 429, "TOO_MANY_REQUESTS"),
    errors.QueueFull: Code(450, 450, "QUEUE_FULL"),
    errors.NoReadyInstance: GET_INSTANCE_ERROR,
    errors.ForwardFailed: MODEL_FORWARD_ERROR,
}


def code_of(fault: type[Fault]) -> Code:
    """The code of a fault; what the public API has no word for is 2001."""
    return next((_CODES[ancestor] for ancestor in fault.__mro__ if ancestor in _CODES), UNKNOWN_ERROR)


def detail_of(fault: Fault) -> str:
    """The sentence for a person; nothing of the inside of a 2001."""
    return HIDDEN_MESSAGE if code_of(type(fault)) is UNKNOWN_ERROR else fault.message


def headers_of(fault: Fault) -> dict[str, str]:
    """Headers that go with a fault."""
    return fault_headers(fault)
