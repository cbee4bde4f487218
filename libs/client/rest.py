"""The management REST API and the public predict API, as typed calls.

A call is named by its gRPC method; path, query and body follow from the method's ``google.api.http`` annotation, the same one
the gateway derives its routes from, so that the two cannot drift apart.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast
from urllib.parse import quote

import httpx
from google.api import annotations_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from libs.client.credentials import base_url

ResponseT = TypeVar("ResponseT", bound=Message)

CHUNK_BYTES = 1 << 20
SESSION_COOKIE = "inkwright_session"
FIELD_IN_PATH = re.compile(r"\{([a-z_.]+)=[^}]*\}")


class ApiError(Exception):
    """The server refused or failed.

    Attributes:
        status: HTTP status.
        reason: name of an ``ErrorReason``; empty when the answer was no JSON error.
        metadata: the changing words of the message.
        request_id: what to look for in the server's log.
    """

    def __init__(
        self, message: str, *, status: int, reason: str = "", metadata: dict[str, str] | None = None, request_id: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.metadata = metadata or {}
        self.request_id = request_id


class Unreachable(Exception):
    """Nothing answers at the address."""


class RestClient:
    """Calls one installation.

    Args:
        url: address of the gateway, e.g. ``http://127.0.0.1:8080``.
        token: of a user, of a session, or the installation's own.
        timeout_seconds: for one call; streams of bytes count each piece.
    """

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 60.0) -> None:
        self.url = base_url(url)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_seconds)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, service: ServiceDescriptor, method: str, request: Message, response: type[ResponseT]) -> ResponseT:
        """Call one method.

        Args:
            service: e.g. ``dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]``.
            method: e.g. ``GetDataset``; it must carry an HTTP rule.
            request: stays as it is.
            response: the method's response type.

        Raises:
            ApiError: the server refused.
            Unreachable: nothing answers.
        """
        verb, path, query, body = _http_parts(service.methods_by_name[method], request)
        answer = self._send(verb, path, params=query, json=body)
        return json_format.Parse(answer.content, response(), ignore_unknown_fields=True)

    def download(self, path: str) -> Iterator[bytes]:
        """Bytes of ``path``, piece by piece.

        Raises:
            ApiError: the server refused.
            Unreachable: nothing answers, or the connection broke.
        """
        try:
            with self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                    _refuse(answer)
                yield from answer.iter_bytes(CHUNK_BYTES)
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url} does not answer ({error}). Start it with `make run`, or set INKWRIGHT_URL.") from error

    def upload(self, path: str, file: Path, response: type[ResponseT]) -> ResponseT:
        """Post a file's bytes as they are.

        Raises:
            ApiError: the server refused.
            Unreachable: nothing answers.
        """
        with file.open("rb") as source:
            answer = self._send("POST", path, content=iter(lambda: source.read(CHUNK_BYTES), b""))
        return json_format.Parse(answer.content, response(), ignore_unknown_fields=True)

    def send_bytes(self, verb: str, path: str, data: bytes, headers: dict[str, str]) -> bytes:
        """Send bytes as they are; gives the answer's body.

        Raises:
            ApiError: the server refused.
            Unreachable: nothing answers.
        """
        return self._send(verb, path, content=data, headers=headers).content

    def predict(self, deployment: str, image: bytes, *, token: str, name: str = "image") -> dict[str, Any]:
        """Call the public API of a deployment with one image, base64 in JSON.

        Returns:
            The answer as it came; an application error is an answer too (``success`` false).

        Raises:
            Unreachable: nothing answers.
        """
        element = {"name": name, "type": "stream", "body": base64.b64encode(image).decode("ascii")}
        try:
            answer = self._http.post(f"/api/predict/{quote(deployment)}", json={"dataArray": [element]}, headers={"Authorization": token})
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url} does not answer ({error}). Start it with `make run`, or set INKWRIGHT_URL.") from error
        result: dict[str, Any] = answer.json()
        return result

    def sign_in(self, user: str, password: str) -> str:
        """Begin a session; gives its secret, which is a token like others.

        Raises:
            ApiError: the server refused.
            Unreachable: nothing answers.
        """
        answer = self._send("POST", "/v1/session", json={"user": user, "password": password})
        # Signing in later with this client must not carry the cookie as well.
        self._http.cookies.clear()
        return answer.cookies[SESSION_COOKIE]

    def sign_out(self) -> None:
        """End the session whose secret is the token. Raises as ``sign_in``."""
        self._send("DELETE", "/v1/session")

    def _send(self, verb: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(verb, path, **options)
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url} does not answer ({error}). Start it with `make run`, or set INKWRIGHT_URL.") from error
        if answer.is_error:
            _refuse(answer)
        return answer


def pages(rest: RestClient, service: ServiceDescriptor, method: str, request: Message, response: type[ResponseT]) -> Iterator[ResponseT]:
    """Every page of a List method; ``request`` carries the page token from one to the next. Raises as ``RestClient.call``."""
    page: Any = request
    while True:
        answer = rest.call(service, method, request, response)
        yield answer
        page.page_token = cast("Any", answer).next_page_token
        if not page.page_token:
            return


def _refuse(answer: httpx.Response) -> NoReturn:
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        raise ApiError(f"HTTP {answer.status_code}: {answer.text[:200]}", status=answer.status_code) from None
    raise ApiError(
        error["message"],
        status=answer.status_code,
        reason=error.get("reason", ""),
        metadata=error.get("metadata", {}),
        request_id=error.get("requestId", ""),
    )


def _http_parts(method: MethodDescriptor, request: Message) -> tuple[str, str, dict[str, Any], Any]:
    """HTTP verb, path, query and JSON body of a request."""
    rest = type(request)()
    rest.CopyFrom(request)
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    if verb is None:
        raise ValueError(f"{method.full_name} has no REST path")
    path = FIELD_IN_PATH.sub(lambda match: quote(_take(rest, match.group(1)), safe="/"), getattr(rule, verb))
    body: Any = None
    if rule.body == "*":
        body = json_format.MessageToDict(rest)
        return verb.upper(), path, {}, body
    if rule.body:
        body = json_format.MessageToDict(getattr(rest, rule.body))
        rest.ClearField(rule.body)
    return verb.upper(), path, json_format.MessageToDict(rest), body


def _take(request: Message, field: str) -> str:
    """Read the (nested) string field that belongs into the path, and clear it."""
    *outer, last = field.split(".")
    holder = request
    for step in outer:
        holder = getattr(holder, step)
    value: str = getattr(holder, last)
    holder.ClearField(last)
    return value
