"""Management routes, derived and hand-written alike: one table, one way in."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.identity.doorkeeper import Doorkeeper
from gateway.rest_faults import fault_response
from gateway.transcode.templates import PathTemplate
from inkwright.common.v1 import permission_pb2
from libs.runtime import call_context
from libs.runtime.errors import Fault, Internal, MethodNotAllowed, NotFound
from libs.runtime.logs import get_logger

log = get_logger()

TEMPLATE_KEY = "inkwright.template"
"""Scope entry with the matched path template, for the access log."""
CLIENT_CLOSED_REQUEST = 499
"""Seen only in the log: nobody is there to read it."""

Endpoint = Callable[[Request, dict[str, str]], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """What answers one HTTP method on one path template.

    Args:
        permission: a value of ``Permission``.
        endpoint: called with the request and the path's values; may raise faults.
    """

    http_method: str
    template: PathTemplate
    permission: permission_pb2.Permission.ValueType
    endpoint: Endpoint


class Routes:
    """All management routes, the more precise template first."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: route.template.rank)

    def find(self, http_method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route of a request and the values in its path.

        Raises:
            NotFound: no template fits the path.
            MethodNotAllowed: one does, for other HTTP methods.
        """
        allowed: set[str] = set()
        for route in self._routes:
            if (captured := route.template.match(raw_path)) is not None:
                if route.http_method == http_method:
                    return route, captured
                allowed.add(route.http_method)
        if not allowed:
            raise NotFound(f"There is nothing at {raw_path[:200]!r}; /openapi.json lists every path.", path=raw_path[:200])
        names = ", ".join(sorted(allowed))
        raise MethodNotAllowed(f"{http_method} is not offered here; use {names}.", method=http_method, allowed=names)


class Management:
    """The ASGI application of everything below ``/v1``: caller, route, permission, endpoint, faults."""

    def __init__(self, routes: Routes, doorkeeper: Doorkeeper) -> None:
        self._routes = routes
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        response = await answered(self._answer, Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        # First of all, so that a stranger does not even learn which paths exist.
        caller = await self._doorkeeper.caller(request)
        route, captured = self._routes.find(request.method, raw_path(request.scope))
        request.scope[TEMPLATE_KEY] = route.template.text
        caller.require(permission_pb2.Permission.Name(route.permission))
        call_context.caller.set(caller)
        return await route.endpoint(request, captured)


async def answered(endpoint: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """An endpoint's answer, its faults translated."""
    try:
        return await endpoint(request)
    except Fault as fault:
        if isinstance(fault, Internal):
            log.error("request_failed", message=fault.message)
        return fault_response(fault)
    except ClientDisconnect:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except Exception as error:
        log.error("request_failed", exc_info=error)
        return fault_response(Internal(repr(error)))


def raw_path(scope: Scope) -> str:
    """The path as it came, percent-encoded, without the query."""
    path: bytes = scope["raw_path"]
    return path.decode("latin-1")
