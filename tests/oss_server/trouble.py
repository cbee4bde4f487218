"""What a test lets go wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.oss_server.messages import Refused, Request


class Kind(Enum):
    """How."""

    REFUSE = auto()
    """Answer with an error."""
    SILENT = auto()
    """Take the request and say nothing until the server stops."""
    CUT = auto()
    """Break off in the middle of the body."""
    UNHEARD = auto()
    """Do it, and break off before the answer."""
    FIRST = auto()
    """Let something else happen just before it."""


@dataclass
class Trouble:
    """Befalls the next requests that it fits. Made by its class methods."""

    kind: Kind
    refusal: Refused | None = None
    happens: Callable[[Request], None] | None = None
    method: str = ""
    key: str | None = None
    times: int = 1
    """Of requests; -1 for all of them."""
    after: int = 0
    """So many pass before."""

    @classmethod
    def throttled(cls, **where: object) -> "Trouble":
        """503, as under too many requests."""
        return cls(Kind.REFUSE, Refused(503, "QpsLimitExceeded", "Please reduce your request rate."), **where)  # type: ignore[arg-type]

    @classmethod
    def broken(cls, **where: object) -> "Trouble":
        """500."""
        return cls(Kind.REFUSE, Refused(500, "InternalError", "Please contact the server administrator."), **where)  # type: ignore[arg-type]

    @classmethod
    def denied(cls, **where: object) -> "Trouble":
        """403, as without the right."""
        refusal = Refused(403, "AccessDenied", "You have no right to access this object.")
        return cls(Kind.REFUSE, refusal, **where)  # type: ignore[arg-type]

    def fits(self, request: Request) -> bool:
        """Whether it befalls this request; counts it if so."""
        if self.times == 0 or (self.method and request.method != self.method) or (self.key is not None and request.key != self.key):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True
