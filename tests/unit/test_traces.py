"""Spans while nobody collects them, and the context that goes on all the same."""

import subprocess
import sys

import pytest
from pydantic import SecretStr, ValidationError

from libs.runtime import call_context, traces
from libs.runtime.call_context import Origin
from services.dataset.settings import DatasetSettings

TRACEPARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


def test_without_a_collector_every_span_is_the_same_nothing() -> None:
    with traces.span("one") as first, traces.span("two", traces.Kind.SERVER, {"a": 1}) as second:
        first.note("a", 1)
        second.fail("no")
        assert first is second


def test_without_a_collector_the_library_is_not_loaded() -> None:
    code = (
        "import sys, libs.runtime.grpc_server, libs.runtime.hearing, libs.runtime.service\n"
        "found = [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_origin_is_continued_and_then_forgotten() -> None:
    with Origin("r1", TRACEPARENT).continued():
        assert call_context.origin() == Origin("r1", TRACEPARENT)
        with Origin().continued():
            inner = call_context.origin()
            assert (len(inner.request_id), inner.traceparent) == (32, "")
        assert call_context.origin() == Origin("r1", TRACEPARENT)
    assert call_context.origin() == Origin()


@pytest.mark.parametrize("given", [None, "", "x", TRACEPARENT.upper(), f"01{TRACEPARENT[2:]}", TRACEPARENT + "-more", TRACEPARENT + "\n"])
def test_what_is_no_traceparent_is_dropped(given: str | None) -> None:
    assert call_context.valid_traceparent(given) == ""
    assert call_context.valid_traceparent(TRACEPARENT.encode()) == TRACEPARENT


def test_metrics_need_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKWRIGHT_GATEWAY_METRICS_ADDRESS", "127.0.0.1:0")
    for token in (None, SecretStr("short")):
        with pytest.raises(ValidationError, match="INKWRIGHT_METRICS_TOKEN to at least 16 characters"):
            DatasetSettings(metrics_token=token)
    monkeypatch.setenv("INKWRIGHT_METRICS_TOKEN", "0123456789abcdef")
    settings = DatasetSettings()
    assert (settings.metrics_address, settings.masked()["metrics_token"]) == ("", "***")
