"""Traces: the way of one request through all processes, as OpenTelemetry spans.

Off until ``configure_traces`` is told where a collector listens. Until then ``span`` gives one object that does nothing, and the
libraries are not even imported; a ``traceparent`` that came from outside is passed on all the same.
"""

import contextlib
import threading
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from libs.runtime import call_context
from libs.runtime.logs import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = get_logger()

Value = str | int | float

REQUEST_ID_ATTRIBUTE = "inkwright.request_id"
EXPORT_SECONDS = 5.0
"""How long one batch of spans is tried; then it is dropped."""
FLUSH_SECONDS = 2.0
"""How long the end of a process may wait for a collector that is slow, or gone."""


class Kind(StrEnum):
    """What a span is to its parent; names of ``opentelemetry.trace.SpanKind``."""

    SERVER = "SERVER"
    CONSUMER = "CONSUMER"
    INTERNAL = "INTERNAL"


class Span(contextlib.AbstractContextManager["Span"], Protocol):
    """What is being done; a context manager."""

    def rename(self, name: str) -> None:
        """What it is turned out later."""
        ...

    def note(self, name: str, value: Value) -> None:
        """Add an attribute, named by OpenTelemetry's conventions where they have a name."""
        ...

    def fail(self, why: str) -> None:
        """It did not go well."""
        ...


class _NoSpan(Span):
    def rename(self, name: str) -> None:
        return

    def note(self, name: str, value: Value) -> None:
        return

    def fail(self, why: str) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return


_NO_SPAN = _NoSpan()
_provider: "TracerProvider | None" = None
_tracer: "Tracer | None" = None


def configure_traces(service: str, endpoint: str) -> None:
    """Begin to record, once, at the start of the process; nothing happens without an endpoint.

    Args:
        service: name of the process in every span.
        endpoint: base URL of an OTLP collector that speaks HTTP, such as ``http://127.0.0.1:4318``; empty for none.
    """
    global _provider, _tracer
    if not endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    _provider = TracerProvider(resource=Resource.create({"service.name": f"inkwright-{service}"}), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = _provider.get_tracer("inkwright")


def close_traces() -> None:
    """Send what is left, then stop recording. Blocks for 2 s at most."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        # The library's own flush heeds no limit, and its shutdown waits for half a minute.
        closing = threading.Thread(target=provider.shutdown, name="traces-shutdown", daemon=True)
        closing.start()
        closing.join(FLUSH_SECONDS)
        if closing.is_alive():
            log.warning("spans_lost", why="the collector did not take the last ones in time")


def span(name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Value] = MappingProxyType({})) -> Span:
    """A span below what is being done now: ``with span("sync dataset"):``. An exception that leaves the block marks it as failed."""
    if _tracer is None:
        return _NO_SPAN
    return _Recorded(_tracer, name, kind, attributes)


class _Recorded(Span):
    def __init__(self, tracer: "Tracer", name: str, kind: Kind, attributes: Mapping[str, Value]) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # The parent comes from our own variable and not from the library's, so that spans, logs and messages cannot disagree.
        parent = TraceContextTextMapPropagator().extract({call_context.TRACEPARENT_KEY: call_context.traceparent.get()})
        known = {REQUEST_ID_ATTRIBUTE: call_context.request_id.get() or "", **attributes}
        self._span = tracer.start_span(name, context=parent, kind=SpanKind[kind], attributes=known)

    def __enter__(self) -> Self:
        context = self._span.get_span_context()
        mine = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        self._token = call_context.traceparent.set(mine)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, Exception):
            self.fail(type(error).__name__)
        self._span.end()
        # A streaming call that is dropped is closed in another context; its variables end with its task anyway.
        with contextlib.suppress(ValueError):
            call_context.traceparent.reset(self._token)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, why: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, why))
