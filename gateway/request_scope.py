"""Around every request: its id, and one line in the log."""

import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.routes import TEMPLATE_KEY
from libs.runtime import call_context, logs

log = logs.get_logger()

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestScope:
    """Middleware: takes a caller's ``X-Request-Id`` or makes one, sends it back, and logs the request when it is over.

    The line holds the path's template, never the path, the query, a header or a body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(call_context.REQUEST_ID_KEY, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else call_context.new_request_id()
        began = time.monotonic()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        token = call_context.request_id.set(request_id)
        try:
            with logs.bind(request_id=request_id):
                try:
                    await self._app(scope, receive, send_with_id)
                finally:
                    milliseconds = round((time.monotonic() - began) * 1000, 1)
                    template = scope.get(TEMPLATE_KEY, "-")
                    log.info("request_finished", method=scope["method"], path=template, status=status, ms=milliseconds)
        finally:
            call_context.request_id.reset(token)
