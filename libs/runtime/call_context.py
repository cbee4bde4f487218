"""What travels from an incoming call to the calls made for it: request id and deadline."""

import time
import uuid
from contextvars import ContextVar

REQUEST_ID_KEY = "x-request-id"
"""gRPC metadata key and bus header."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def new_request_id() -> str:
    """A fresh id: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def set_deadline(remaining_seconds: float | None) -> None:
    """Note the incoming call's deadline for the rest of this task; ``None`` means it has none."""
    _deadline.set(None if remaining_seconds is None else time.monotonic() + remaining_seconds)


def remaining_seconds() -> float | None:
    """Seconds left to the incoming call, never negative; ``None`` without one."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())
