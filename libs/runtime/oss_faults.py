"""What OSS answers and what goes wrong on the way there, as faults. Texts of signatures and tokens stay out of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import oss2
import requests
import urllib3

from libs.runtime.allowed_roots import PathNotFound
from libs.runtime.errors import AlreadyExists, Conflict, Fault, Forbidden, InvalidInput, NoReadyInstance, NotFound


class StoreForbidden(Forbidden):
    """The store refuses the installation's credentials, or what they ask for."""

    reason = "STORE_FORBIDDEN"


class StaleCredentials(StoreForbidden):
    """They are no longer, or not yet, known; others may have been put in their place."""


class StoreUnavailable(NoReadyInstance):
    """The store cannot be reached, or has too much to do."""

    reason = "STORE_UNAVAILABLE"


class PassingTrouble(StoreUnavailable):
    """Of the kind that is often over a moment later."""


class Right(StrEnum):
    """What a policy of OSS calls a request."""

    LIST = "oss:ListObjects"
    GET = "oss:GetObject"
    PUT = "oss:PutObject"
    DELETE = "oss:DeleteObject"


@dataclass(frozen=True)
class Asked:
    """A request, for the text of its fault. ``key`` is that of the whole bucket; empty for a listing."""

    right: Right
    connection: str
    bucket: str
    key: str = ""

    @property
    def place(self) -> str:
        """``oss://bucket/key``."""
        return f"oss://{self.bucket}/{self.key}"


_STALE: Final = frozenset({"InvalidAccessKeyId", "SecurityTokenExpired", "InvalidSecurityToken", "SignatureDoesNotMatch"})
# Of status 400, and all the same no fault of the request.
_PASSING: Final = frozenset({"RequestTimeout", "InvalidDigest", "IncompleteBody"})


@contextmanager
def oss_faults(asked: Asked) -> Iterator[None]:
    """Raise faults instead of what ``oss2`` and the libraries below it raise."""
    try:
        yield
    except oss2.exceptions.RequestError as error:
        raise _fault_of_the_way(asked, error.exception) from error
    except oss2.exceptions.OssError as error:
        raise _fault_of_the_answer(asked, error) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        # While the body was read, which oss2 leaves to its caller.
        raise _fault_of_the_way(asked, error) from error


def _fault_of_the_way(asked: Asked, error: Exception) -> Fault:
    kind = type(error).__name__
    told = {"connection": asked.connection, "bucket": asked.bucket, "error": kind}
    if isinstance(error, requests.exceptions.SSLError):
        message = (
            f"The certificate of OSS connection {asked.connection} is not trusted. Set its ca_bundle to the authority's PEM file, "
            "or correct its endpoint."
        )
        return StoreUnavailable(message, **told)
    if isinstance(error, (requests.exceptions.TooManyRedirects, requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        message = f"The endpoint of OSS connection {asked.connection} does not answer as OSS does ({kind}); correct it."
        return StoreUnavailable(message, **told)
    message = (
        f"OSS cannot be reached over connection {asked.connection} ({kind}); check the network and its endpoint and proxy, then try again."
    )
    return PassingTrouble(message, **told)


def _fault_of_the_answer(asked: Asked, error: Any) -> Fault:
    status, code = int(error.status), str(error.code)
    told = {"place": asked.place, "bucket": asked.bucket, "status": status, "code": code, "oss_request_id": error.request_id}
    if status >= 500 or status == 429 or code in _PASSING:
        busy = f"OSS has too much to do, or is out of order ({status} {code}); wait a moment, then try again."
        return PassingTrouble(busy, **told)
    if status == 403:
        return _refusal(asked, code, told)
    if status == 404 and code in ("NoSuchBucket", "NoSuchKey", ""):
        if code == "NoSuchBucket":
            return PathNotFound(f"There is no bucket {asked.bucket} behind OSS connection {asked.connection}; check both.", **told)
        return NotFound(f"There is no object {asked.place}.", **told)
    if status == 409 and code == "FileAlreadyExists":
        return AlreadyExists(f"{asked.place} exists already.", **told)
    if status == 412:
        return Conflict(f"{asked.place} was replaced while it was read; read it again.", **told)
    if status == oss2.exceptions.OSS_CLIENT_ERROR_STATUS:
        return InvalidInput(f"{asked.place} cannot be asked for: {error.body}", place=asked.place)
    return InvalidInput(f"OSS refused {asked.place}: {error.message or 'no reason given'} ({status} {code}).", **told)


def _refusal(asked: Asked, code: str, told: dict[str, Any]) -> Fault:
    connection = {"connection": asked.connection, "right": asked.right.value}
    if code in _STALE:
        message = f"OSS does not accept the credentials of connection {asked.connection} ({code}); correct or renew them."
        return StaleCredentials(message, **told, **connection)
    if code == "RequestTimeTooSkewed":
        message = "The clock of the dataset service's machine is more than 15 minutes off, so OSS refuses every request; set it right."
        return StoreForbidden(message, **told, **connection)
    if code == "InvalidObjectState":
        return InvalidInput(f"{asked.place} is archived and cannot be read; restore it, then sync again.", **told)
    where = f"bucket {asked.bucket}" if not asked.key else asked.place
    message = (
        f"The credentials of OSS connection {asked.connection} lack the right {asked.right} on {where} ({code or 403}); "
        "grant it to them, or check that the bucket lies behind this connection's endpoint."
    )
    return StoreForbidden(message, **told, **connection)
