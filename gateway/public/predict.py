"""The ASGI application of everything below ``/api``: ``POST /api/predict/{deployment}``."""

import asyncio
import re
import time
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway import metrics
from gateway.identity.doorkeeper import token_in
from gateway.intake import read_limited
from gateway.public.body import Element, Limits, parse_body
from gateway.public.codes import code_of
from gateway.public.contract import Answer, Reading, Wire, wire_of_answers, wire_of_fault
from gateway.public.forward import Forwarder
from gateway.public.routing import RoutingTable
from gateway.routes import CLIENT_CLOSED_REQUEST, TEMPLATE_KEY, raw_path
from gateway.settings import GatewaySettings
from libs.runtime import call_context
from libs.runtime.errors import Fault, Internal, MethodNotAllowed, NotFound, Unauthenticated
from libs.runtime.logs import get_logger

log = get_logger()

TEMPLATE = "/api/predict/{deployment}"
LARGE_BODY_BYTES = 1024 * 1024
"""Parsing more than this takes longer than the event loop should stand still."""

_PATH = re.compile(r"/api/predict/([^/:]+)/?")


class PublicApi:
    """See the module."""

    def __init__(self, table: RoutingTable, forwarder: Forwarder, settings: GatewaySettings) -> None:
        self._table = table
        self._forwarder = forwarder
        self._max_body_bytes = settings.predict_max_body_bytes
        self._concurrency = settings.predict_concurrency
        self._limits = Limits(settings.predict_max_items, settings.predict_max_image_bytes, settings.predict_max_image_pixels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        request_id = call_context.request_id.get() or ""
        try:
            wire = await self._answer(Request(scope, receive), request_id)
        except Fault as fault:
            wire = wire_of_fault(request_id, fault)
        except ClientDisconnect:
            wire = Wire(CLIENT_CLOSED_REQUEST, b"", {})
        except Exception as error:
            log.error("predict_failed", exc_info=error)
            wire = wire_of_fault(request_id, Internal(repr(error)))
        response = Response(wire.body, wire.status, headers=dict(wire.headers), media_type="application/json")
        await response(scope, receive, send)

    async def _answer(self, request: Request, request_id: str) -> Wire:
        path = _PATH.fullmatch(raw_path(request.scope))
        if path is None:
            raise NotFound("There is nothing here; call /api/predict/{deployment}.")
        request.scope[TEMPLATE_KEY] = TEMPLATE
        if request.method != "POST":
            raise MethodNotAllowed(f"{request.method} is not offered here; use POST.", method=request.method, allowed="POST")
        deployment = self._table.deployment(unquote(path[1]))
        # Before the body: a stranger's bytes are never read.
        if not deployment.accepts(token_in(request.headers.get("authorization"))):
            raise Unauthenticated("The Authorization header must hold the deployment's token.")
        raw = await read_limited(request, self._max_body_bytes)
        if len(raw) > LARGE_BODY_BYTES:
            elements = await asyncio.to_thread(parse_body, raw, self._limits)
        else:
            elements = parse_body(raw, self._limits)
        del raw
        return wire_of_answers(request_id, await self._read_all(deployment.deployment_id, elements))

    async def _read_all(self, deployment_id: str, elements: list[Element]) -> list[Answer]:
        places = asyncio.Semaphore(self._concurrency)

        async def read(element: Element) -> Answer:
            async with places:
                result = await self._read(deployment_id, element)
            code = code_of(type(result)).number if isinstance(result, Fault) else 0
            metrics.PREDICT_ELEMENTS.labels(deployment_id, code).inc()
            return Answer(element.name, result)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(read(element), name="predict-element") for element in elements]
        return [task.result() for task in tasks]

    async def _read(self, deployment_id: str, element: Element) -> Reading | Fault:
        if isinstance(element.image, Fault):
            return element.image
        began = time.monotonic()
        try:
            reply = await self._forwarder.predict(deployment_id, element.image)
        except Fault as fault:
            if isinstance(fault, Internal):
                log.error("predict_failed", deployment=deployment_id, message=fault.message)
            return fault
        return Reading(reply, (time.monotonic() - began) * 1000)
