"""The gateway's HTTP application, put together from its parts."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib import metadata

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as PathRoute

import gateway.console.events as events
import gateway.console.files as files
import gateway.console.pictures as pictures
import gateway.console.transfer as transfer
import gateway.console.uploads as uploads
import gateway.identity.session as session
import gateway.public.openapi as public_openapi
from gateway.identity.doorkeeper import Doorkeeper
from gateway.identity.session import Sessions
from gateway.public.forward import Forwarder
from gateway.public.predict import PublicApi
from gateway.public.routing import RoutingTable
from gateway.request_scope import RequestScope
from gateway.rest_faults import fault_response
from gateway.routes import TEMPLATE_KEY, Management, Route, Routes, answered
from gateway.settings import GatewaySettings
from gateway.transcode.call import Peers
from gateway.transcode.openapi import openapi_document
from gateway.transcode.routes import derived_routes
from gateway.transcode.rules import Binding, bindings
from libs.runtime.bus import Bus
from libs.runtime.errors import Fault, Internal, MethodNotAllowed, NotFound


@dataclass(frozen=True)
class Parts:
    """What the application stands on."""

    settings: GatewaySettings
    doorkeeper: Doorkeeper
    sessions: Sessions
    peers: Peers
    bus: Bus
    table: RoutingTable
    stopping: asyncio.Event


def build_app(parts: Parts) -> Starlette:
    """Put everything together.

    Raises:
        ValueError: a method of the protos breaks a rule, see ``transcode.rules.bindings``.
    """
    settings = parts.settings
    compiled = bindings()
    forwarder = Forwarder(
        parts.table, timeout_seconds=settings.predict_timeout_seconds, connect_timeout_seconds=settings.connect_timeout_seconds
    )
    hand_written = [
        session.openapi_paths(),
        files.openapi_paths(),
        pictures.openapi_paths(),
        uploads.openapi_paths(),
        transfer.openapi_paths(),
        events.openapi_paths(),
        public_openapi.openapi_paths(),
    ]
    document = orjson.dumps(openapi_document(compiled, hand_written, public_openapi.SCHEMAS, metadata.version("inkwright")))

    async def healthz(request: Request) -> Response:
        request.scope[TEMPLATE_KEY] = "/healthz"
        stopping = parts.stopping.is_set()
        body = {"status": "stopping" if stopping else "serving", "bus": "connected" if parts.bus.is_connected else "disconnected"}
        return Response(orjson.dumps(body), 503 if stopping else 200, media_type="application/json")

    async def openapi(request: Request) -> Response:
        request.scope[TEMPLATE_KEY] = "/openapi.json"
        return Response(document, media_type="application/json")

    async def sign_in(request: Request) -> Response:
        request.scope[TEMPLATE_KEY] = session.PATH
        return await answered(parts.sessions.sign_in, request)

    async def sign_out(request: Request) -> Response:
        request.scope[TEMPLATE_KEY] = session.PATH
        return await answered(parts.sessions.sign_out, request)

    app = Starlette(
        routes=[
            PathRoute("/healthz", healthz),
            PathRoute("/openapi.json", openapi),
            PathRoute(session.PATH, sign_in, methods=["POST"]),
            PathRoute(session.PATH, sign_out, methods=["DELETE"]),
            PathRoute("/v1/{rest:path}", Management(Routes(management_routes(compiled, parts)), parts.doorkeeper)),
            PathRoute("/api/{rest:path}", PublicApi(parts.table, forwarder, settings)),
        ],
        middleware=[Middleware(RequestScope)],
        exception_handlers={HTTPException: _no_such_path},
    )
    app.router.redirect_slashes = False
    return app


def management_routes(compiled: Sequence[Binding], parts: Parts) -> list[Route]:
    """Every route below ``/v1`` but the session's."""
    settings = parts.settings
    deadline = settings.management_timeout_seconds
    return [
        *derived_routes(compiled, parts.peers, max_body_bytes=settings.management_max_body_bytes, deadline_seconds=deadline),
        *files.Files(parts.peers, bundle_max_bytes=settings.bundle_max_bytes).routes(),
        *uploads.Uploads(parts.peers).routes(),
        *pictures.Pictures(parts.peers, deadline_seconds=deadline).routes(),
        *transfer.Transfer(parts.peers).routes(),
        *events.Events(parts.bus, parts.stopping, max_streams=settings.max_event_streams).routes(),
    ]


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    fault: Fault
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            fault = NotFound("There is nothing here; /openapi.json lists every path.")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "")
            fault = MethodNotAllowed(f"{request.method} is not offered here; use {allowed}.", method=request.method, allowed=allowed)
        case _:
            fault = Internal(error.detail)
    return fault_response(fault)
