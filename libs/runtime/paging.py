"""Pages of a List method: sizes and opaque tokens that fit only the query they came from."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import orjson
from google.protobuf.message import Message

from libs.runtime.errors import InvalidInput

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000

T = TypeVar("T")
Cursor = tuple[str | int, ...]
"""Sort keys of the last item given out; empty before the first page."""


class InvalidPageToken(InvalidInput):
    """A page token that this query never gave out."""

    reason = "INVALID_PAGE_TOKEN"


@runtime_checkable
class PagedRequest(Protocol):
    """What every List request has."""

    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page; ``next_cursor`` is ``None`` on the last one."""

    items: list[T]
    next_cursor: Cursor | None = None


def page_size(request: PagedRequest, *, default: int = DEFAULT_PAGE_SIZE, maximum: int = MAX_PAGE_SIZE) -> int:
    """How many items to give: the default for 0, at most the maximum.

    Raises:
        InvalidInput: a negative size.
    """
    if request.page_size < 0:
        raise InvalidInput("page_size must not be negative; leave it out for the default.", page_size=request.page_size)
    return min(request.page_size or default, maximum)


def page_cursor(request: PagedRequest) -> Cursor:
    """The cursor inside the request's page token; ``()`` for the first page.

    Raises:
        InvalidPageToken: the token is garbled or belongs to a query with other fields.
    """
    if not request.page_token:
        return ()
    try:
        parts = orjson.loads(base64.urlsafe_b64decode(request.page_token.encode() + b"=="))
    except (ValueError, binascii.Error):
        parts = None
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str | int) for part in parts):
        raise InvalidPageToken("The page token cannot be read; begin again without one.")
    query, *cursor = parts
    if query != _query_digest(request):
        raise InvalidPageToken("The page token belongs to another query; repeat the request that gave it with only the token changed.")
    return tuple(cursor)


def page_token(request: PagedRequest, cursor: Cursor | None) -> str:
    """The token that continues this query after ``cursor``; ``""`` when there is nothing more."""
    if cursor is None:
        return ""
    return base64.urlsafe_b64encode(orjson.dumps([_query_digest(request), *cursor])).decode().rstrip("=")


def _query_digest(request: PagedRequest) -> str:
    assert isinstance(request, Message)
    query = type(request)()
    query.CopyFrom(request)
    query.ClearField("page_size")
    query.ClearField("page_token")
    body = query.DESCRIPTOR.full_name.encode() + b"\0" + query.SerializeToString(deterministic=True)
    return hashlib.sha256(body).hexdigest()[:16]
