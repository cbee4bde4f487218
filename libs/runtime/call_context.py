"""What travels from an incoming call to what is done for it: request id, deadline, caller, and the change it makes."""

import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass

from libs.runtime.caller import Caller

REQUEST_ID_KEY = "x-request-id"
"""gRPC metadata key and bus header."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
caller: ContextVar[Caller | None] = ContextVar("caller", default=None)
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@dataclass
class Change:
    """A call that changes something, or shows a secret: the unit of work that commits it also writes it down.

    Args:
        method: full name, e.g. ``inkwright.dataset.v1.DatasetService.CreateDataset``.
        resource: what it is about, as far as the request says.
        permission: what it took.
        is_recorded: whether a unit of work has committed with it.
    """

    method: str
    resource: str
    permission: str
    caller: Caller
    is_recorded: bool = False


change: ContextVar[Change | None] = ContextVar("change", default=None)
"""Of the call being answered; ``None`` where it only looks."""


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
