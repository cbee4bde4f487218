"""The fault tree: everything a user or an operator can cause, in one place.

    Fault
    ├── InvalidInput ── TooLarge, ImageUndecodable
    ├── Unauthenticated
    ├── Forbidden
    ├── NotFound
    ├── AlreadyExists
    ├── Conflict
    ├── WrongState ── DatasetInTrash
    ├── QueueFull ── RateLimited
    ├── Expired
    ├── Gone
    ├── NoReadyInstance
    ├── ForwardFailed
    ├── MethodNotAllowed   (gateway only)
    └── Internal           (the hidden rest)

Services add leaves with a reason of their own in their ``domain.py``. Domain code raises faults; each edge
translates them exactly once: ``grpc_faults`` for gRPC, ``gateway.rest_faults`` for REST, ``gateway.public.codes``
for the public API. This module imports nothing but the standard library, so that every room may raise from it.
"""

from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "Conflict",
    "DatasetInTrash",
    "Expired",
    "Fault",
    "Forbidden",
    "ForwardFailed",
    "Gone",
    "ImageUndecodable",
    "Internal",
    "InvalidInput",
    "MethodNotAllowed",
    "NoReadyInstance",
    "NotFound",
    "QueueFull",
    "RateLimited",
    "TooLarge",
    "Unauthenticated",
    "WrongState",
    "all_faults",
]


class Fault(Exception):
    """Base of everything an edge knows how to translate; never raised itself.

    Args:
        message: one sentence for a person that says what to do next.
        metadata: every changing word of the message, by name. Values are turned into strings.
    """

    reason: ClassVar[str] = "INTERNAL"
    """Name of a value of ``inkwright.common.v1.ErrorReason``."""

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = {key: str(value) for key, value in metadata.items()}


class InvalidInput(Fault):
    """The request itself is wrong; sending it again changes nothing."""

    reason = "INVALID_INPUT"


class TooLarge(InvalidInput):
    """Bytes, pixels or items over a stated limit."""

    reason = "TOO_LARGE"


class ImageUndecodable(InvalidInput):
    """The bytes are no image that can be decoded."""

    reason = "IMAGE_UNDECODABLE"


class Unauthenticated(Fault):
    """No token, or one that nobody gave out."""

    reason = "UNAUTHENTICATED"


class Forbidden(Fault):
    """Known caller, missing right."""

    reason = "FORBIDDEN"


class NotFound(Fault):
    """No such resource."""

    reason = "NOT_FOUND"


class AlreadyExists(Fault):
    """A resource of this name exists."""

    reason = "ALREADY_EXISTS"


class Conflict(Fault):
    """Somebody else changed it first: read again, then repeat."""

    reason = "CONFLICT"


class WrongState(Fault):
    """The resource is not in a state that allows this verb."""

    reason = "WRONG_STATE"


class DatasetInTrash(WrongState):
    """A dataset that must be restored first. Here because two services say so."""

    reason = "DATASET_IN_TRASH"

    @classmethod
    def named(cls, name: str) -> "DatasetInTrash":
        """For the dataset ``name``."""
        return cls(f"{name} is in the trash; restore it (inkctl dataset restore), then repeat.", name=name)


class QueueFull(Fault):
    """A bounded queue has no place left."""

    reason = "QUEUE_FULL"


class RateLimited(QueueFull):
    """More calls a second than the caller may make."""

    reason = "RATE_LIMITED"


class Expired(Fault):
    """The caller's deadline passed."""

    reason = "EXPIRED"


class Gone(Fault):
    """A stream position that is no longer kept."""

    reason = "GONE"


class NoReadyInstance(Fault):
    """Nothing that could answer is ready."""

    reason = "NO_READY_INSTANCE"


class ForwardFailed(Fault):
    """The model was run and failed."""

    reason = "FORWARD_FAILED"


class MethodNotAllowed(Fault):
    """The path exists, the HTTP method does not."""

    reason = "METHOD_NOT_ALLOWED"


class Internal(Fault):
    """What nobody foresaw; its message stays in the log."""

    reason = "INTERNAL"


def all_faults(root: type[Fault] = Fault) -> set[type[Fault]]:
    """Every fault below ``root``, leaves of imported services included."""
    found: set[type[Fault]] = set()
    for sub in root.__subclasses__():
        found |= {sub} | all_faults(sub)
    return found
