"""The public API on the wire. Every key, its order, its type and its rounding stand here and nowhere else.

Source: PAI's OCR page for the names, their order and the codes; what it leaves open is settled in ``docs/public-api.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.public.codes import code_of, detail_of, headers_of
from inkwright.inference.v1 import instance_service_pb2
from libs.runtime.errors import Fault

CONFIDENCE_DIGITS = 4
RELATIVE_DIGITS = 6
"""A hundredth of a pixel in an image of 10,000 pixels."""
PIXEL_DIGITS = 2
MILLISECOND_DIGITS = 2


@dataclass(frozen=True)
class Reading:
    """What an instance read in one image, and how long the gateway waited for it."""

    reply: instance_service_pb2.PredictResponse
    total_ms: float


@dataclass(frozen=True)
class Answer:
    """What became of one element of ``dataArray``."""

    name: str
    outcome: Reading | Fault


@dataclass(frozen=True)
class Wire:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def wire_of_answers(request_id: str, answers: Sequence[Answer]) -> Wire:
    """The answer to a request whose elements were looked at.

    One element: ``result``, or its error. Several: also ``results`` in request order; ``result`` stays the first element's. The
    request succeeded when one element did; when none did it has the first one's error.
    """
    readings = [answer.outcome for answer in answers if isinstance(answer.outcome, Reading)]
    first = answers[0].outcome
    if not readings and isinstance(first, Fault):
        body = {"requestId": request_id, **_error(first)}
        status, headers = code_of(type(first)).http_status, headers_of(first)
    else:
        body = {"requestId": request_id, "success": True}
        if isinstance(first, Reading):
            body["result"] = _result(first)
        status, headers = 200, {"X-Model-Version": readings[0].reply.bundle_digest}
    if len(answers) > 1:
        body["results"] = [{"name": answer.name, **_element(answer.outcome)} for answer in answers]
    return Wire(status, orjson.dumps(body), headers)


def wire_of_fault(request_id: str, fault: Fault) -> Wire:
    """The answer to a request that was refused as a whole."""
    body = {"requestId": request_id, **_error(fault)}
    return Wire(code_of(type(fault)).http_status, orjson.dumps(body), headers_of(fault))


def _element(outcome: Reading | Fault) -> dict[str, Any]:
    if isinstance(outcome, Fault):
        return _error(outcome)
    return {"success": True, "result": _result(outcome)}


def _error(fault: Fault) -> dict[str, Any]:
    code = code_of(type(fault))
    return {"success": False, "errorCode": code.number, "errorMsg": code.constant, "errorDetail": detail_of(fault)}


def _result(reading: Reading) -> dict[str, Any]:
    reply = reading.reply
    timings = reply.timings
    milliseconds = {
        "queueMs": timings.queue_ms,
        "decodeMs": timings.decode_ms,
        "detectMs": timings.detect_ms,
        "recognizeMs": timings.recognize_ms,
        "totalMs": reading.total_ms,
    }
    return {
        "output": [_line(line, reply.width_px, reply.height_px) for line in reply.lines],
        "meta": {"height": reply.height_px, "width": reply.width_px},
        "timings": {key: round(value, MILLISECOND_DIGITS) for key, value in milliseconds.items()},
    }


def _line(line: instance_service_pb2.TextLine, width_px: int, height_px: int) -> dict[str, Any]:
    points = line.quad.points
    return {
        "label": line.text,
        "conf": round(line.confidence, CONFIDENCE_DIGITS),
        "pos": [[_relative(point.x, width_px), _relative(point.y, height_px)] for point in points],
        "polygon": [[round(point.x, PIXEL_DIGITS), round(point.y, PIXEL_DIGITS)] for point in points],
    }


def _relative(position_px: float, side_px: int) -> float:
    return round(min(max(0.0, position_px / side_px), 1.0), RELATIVE_DIGITS)
