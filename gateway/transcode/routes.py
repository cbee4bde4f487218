"""Management routes from the annotations: each binds, calls and prints."""

import asyncio
from collections.abc import Sequence
from functools import partial

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response

from gateway.intake import read_limited
from gateway.routes import Route
from gateway.transcode.bind import bind_request
from gateway.transcode.call import Peers
from gateway.transcode.rules import Binding

LARGE_BODY_BYTES = 256 * 1024
"""Parsing more than this takes longer than the event loop should stand still."""


def derived_routes(bindings: Sequence[Binding], peers: Peers, *, max_body_bytes: int, deadline_seconds: float) -> list[Route]:
    """One route for each binding."""
    return [
        Route(
            binding.http_method,
            binding.template,
            binding.permission,
            partial(_answer, binding, peers, max_body_bytes, deadline_seconds),
        )
        for binding in bindings
    ]


async def _answer(
    binding: Binding, peers: Peers, max_body_bytes: int, deadline_seconds: float, request: Request, captured: dict[str, str]
) -> Response:
    body = await read_limited(request, max_body_bytes)
    bind = partial(bind_request, binding, captured, request.query_params.multi_items(), body)
    message = await asyncio.to_thread(bind) if len(body) > LARGE_BODY_BYTES else bind()
    reply = await peers.call(binding.method, message, deadline_seconds=deadline_seconds)
    large = reply.ByteSize() > LARGE_BODY_BYTES
    printed = await asyncio.to_thread(printed_json, reply) if large else printed_json(reply)
    return Response(printed, media_type="application/json")


def printed_json(message: Message) -> bytes:
    """The JSON form: lowerCamelCase, default values printed, int64 as text, nothing but what must be is escaped."""
    return orjson.dumps(json_format.MessageToDict(message, always_print_fields_with_no_presence=True))
