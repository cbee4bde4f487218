"""The fault table at the gateway's two edges, for every fault there is."""

import importlib
from pathlib import Path

import orjson
import pytest

from gateway import rest_faults
from gateway.public import codes
from gateway.public.contract import wire_of_fault
from libs.runtime import errors
from libs.runtime.errors import Fault, all_faults
from libs.runtime.grpc_faults import HIDDEN_MESSAGE
from tests.gateway_world import gateway_world

ROOT = Path(__file__).parents[2]

# fault: HTTP status of the management API, HTTP status and errorCode of the public API.
TABLE: dict[type[Fault], tuple[int, int, int]] = {
    errors.TooLarge: (413, 413, 1001),
    errors.MethodNotAllowed: (405, 405, 405),
    errors.InvalidInput: (400, 400, 1001),
    errors.ImageUndecodable: (400, 400, 1002),
    errors.Unauthenticated: (401, 401, 401),
    errors.Forbidden: (403, 403, 403),
    errors.NotFound: (404, 404, 404),
    errors.AlreadyExists: (409, 500, 2001),
    errors.Conflict: (409, 500, 2001),
    errors.WrongState: (400, 500, 2001),
    errors.QueueFull: (429, 450, 450),
    errors.RateLimited: (429, 429, 429),
    errors.Expired: (504, 408, 408),
    errors.Gone: (400, 500, 2001),
    errors.NoReadyInstance: (503, 503, 2002),
    errors.ForwardFailed: (500, 500, 2003),
    errors.Internal: (500, 500, 2001),
}


def branch(fault: type[Fault]) -> type[Fault]:
    """The row of the table that a leaf belongs to."""
    return next(ancestor for ancestor in fault.__mro__ if ancestor in TABLE)


def test_every_fault_of_the_house_has_a_row_at_both_edges() -> None:
    for path in ROOT.glob("services/*/domain.py"):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for fault in all_faults():
        code = codes.code_of(fault)
        assert (rest_faults.http_status(fault), code.http_status, code.number) == TABLE[branch(fault)], fault


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
async def test_a_fault_of_a_service_reaches_a_rest_caller_whole(kind: type[Fault], tmp_path: Path) -> None:
    async with gateway_world(tmp_path) as world:
        world.inference.fault = kind("Do something else.", size=7, what="it")
        answer = await world.http.get("/v1/projects/default/deployments/d", headers={"X-Request-Id": "req-1"})
    error = answer.json()["error"]
    assert answer.status_code == error["code"] == TABLE[kind][0]
    assert error["requestId"] == answer.headers["X-Request-Id"] == "req-1"
    assert list(error) == ["code", "status", "reason", "message", "metadata", "requestId"]
    if kind is errors.Internal:
        assert (error["message"], error["metadata"]) == (HIDDEN_MESSAGE, {})
    else:
        assert (error["reason"], error["message"], error["metadata"]) == (kind.reason, "Do something else.", {"size": "7", "what": "it"})
    if kind in (errors.NoReadyInstance, errors.QueueFull, errors.RateLimited):
        assert answer.headers["Retry-After"] == "1"
    if kind is errors.Unauthenticated:
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_the_public_shape_of_a_fault(kind: type[Fault]) -> None:
    wire = wire_of_fault("r1", kind("Do something else.", allowed="POST"))
    body = orjson.loads(wire.body)
    assert (wire.status, body["errorCode"]) == TABLE[kind][1:]
    assert list(body) == ["requestId", "success", "errorCode", "errorMsg", "errorDetail"]
    hidden = body["errorCode"] == 2001
    assert body["errorDetail"] == (HIDDEN_MESSAGE if hidden else "Do something else.")
    if kind is errors.MethodNotAllowed:
        assert wire.headers["Allow"] == "POST"
    if kind is errors.NoReadyInstance:
        assert int(wire.headers["Retry-After"]) > 0
