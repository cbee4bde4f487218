"""Around every request: its id, its span, its numbers, and one line in the log."""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import metrics
from gateway.routes import TEMPLATE_KEY
from libs.runtime import call_context, logs, traces

log = logs.get_logger()


class RequestScope:
    """Middleware: takes a caller's ``X-Request-Id`` or makes one, sends it back, and logs the request when it is over. A ``traceparent``
    that the caller sent makes the request a part of its trace.

    The line holds the path's template, never the path, the query, a header or a body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, http_method = Headers(scope=scope), metrics.known_method(scope["method"])
        given = headers.get(call_context.REQUEST_ID_KEY, "")
        request_id = call_context.valid_request_id(given)
        began = time.monotonic()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        origin = call_context.Origin(request_id, call_context.valid_traceparent(headers.get(call_context.TRACEPARENT_KEY)))
        with origin.continued(), traces.span(http_method, traces.Kind.SERVER) as span, metrics.HTTP_IN_FLIGHT.track_inprogress():
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                seconds = time.monotonic() - began
                template = scope.get(TEMPLATE_KEY, "-")
                metrics.HTTP_REQUESTS.labels(template, http_method, status).inc()
                metrics.HTTP_SECONDS.labels(template, http_method).observe(seconds)
                _describe(span, http_method, template, status)
                log.info("request_finished", method=scope["method"], path=template, status=status, ms=round(seconds * 1000, 1))


def _describe(span: traces.Span, http_method: str, template: str, status: int) -> None:
    span.rename(f"{http_method} {template}")
    span.note("http.request.method", http_method)
    span.note("http.route", template)
    span.note("http.response.status_code", status)
    if status >= 500:
        span.fail(str(status))
