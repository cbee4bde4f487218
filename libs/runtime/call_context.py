"""What travels from an incoming call to all that is done for it: request id, place in its trace, deadline, caller, the change it makes."""

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from libs.runtime import logs
from libs.runtime.caller import Caller

REQUEST_ID_KEY = "x-request-id"
"""HTTP header, gRPC metadata key and bus header."""
TRACEPARENT_KEY = "traceparent"
"""As W3C Trace Context names it; HTTP header, gRPC metadata key and bus header."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


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
traceparent: ContextVar[str] = ContextVar("traceparent", default="")
"""Of the innermost span, or as it came where this process records none; empty outside of a trace."""
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@dataclass(frozen=True)
class Origin:
    """The request that something is done for.

    Args:
        request_id: empty where nobody knows.
        traceparent: empty outside of a trace.
    """

    request_id: str = ""
    traceparent: str = ""

    @contextmanager
    def continued(self) -> Iterator[None]:
        """All that is logged, called and told in the block belongs to that request; without one a fresh id ties it together."""
        given = self.request_id or new_request_id()
        id_token, trace_token = request_id.set(given), traceparent.set(self.traceparent)
        try:
            with logs.bind(request_id=given):
                yield
        finally:
            request_id.reset(id_token)
            traceparent.reset(trace_token)


def origin() -> Origin:
    """Of what is being done now."""
    return Origin(request_id.get() or "", traceparent.get())


def valid_request_id(given: str | bytes | None) -> str:
    """What came from outside, where it can be an id; else a fresh one."""
    text = given.decode("latin-1") if isinstance(given, bytes) else given or ""
    return text if _REQUEST_ID.fullmatch(text) else new_request_id()


def valid_traceparent(given: str | bytes | None) -> str:
    """What came from outside, where it is a ``traceparent`` of version 00; else an empty one."""
    text = given.decode("latin-1") if isinstance(given, bytes) else given or ""
    return text if _TRACEPARENT.fullmatch(text) else ""


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
