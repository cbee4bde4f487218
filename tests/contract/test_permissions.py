"""Who may do what: every role before every method and every route, against a table written by hand."""

import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from gateway.app import management_routes
from gateway.identity.domain import ROLE_PERMISSIONS, Role
from gateway.routes import Route
from gateway.transcode.rules import API_FILES, Binding, bindings, methods, rpc_path
from inkwright.common.v1 import permission_pb2
from libs.runtime.caller import SERVICE_PERMISSIONS, Caller
from libs.runtime.errors import NotFound
from libs.runtime.grpc_client import connect
from libs.runtime.grpc_interceptor import Context
from libs.runtime.grpc_server import GrpcServer
from tests.gateway_world import World, gateway_world
from tests.trust import TRUST, credentials_of

ANYONE = "admin trainer labeler deployer viewer"

# Whoever is not named is refused. Services that call each other stand as dataset, labeling, training, inference and gateway.
MATRIX = {
    "common": {"GetProcess": "admin"},
    "dataset": {
        "CreateDataset": "admin trainer training",
        "GetDataset": f"{ANYONE} labeling training inference",
        "ListDatasets": f"{ANYONE} labeling training inference",
        "UpdateDataset": "admin trainer training",
        "DeleteDataset": "admin trainer training",
        "ListTrash": f"{ANYONE} labeling training inference",
        "RestoreDataset": "admin trainer training",
        "PurgeDataset": "admin trainer training",
        "SyncDataset": "admin trainer training",
        "TestConnection": "admin trainer training",
        "TestDatasetConnection": "admin trainer training",
        "ListImages": f"{ANYONE} labeling training inference",
        "GetImage": f"{ANYONE} labeling training inference",
        "ReadImage": f"{ANYONE} labeling training inference",
        "SearchImages": f"{ANYONE} labeling training inference",
        "GrepLabels": f"{ANYONE} labeling training inference",
        "ReadThumbnail": f"{ANYONE} labeling training inference",
        "GetTilePyramid": f"{ANYONE} labeling training inference",
        "ReadTile": f"{ANYONE} labeling training inference",
        "GetPictureCache": f"{ANYONE} labeling training inference",
        "GetImageLabels": f"{ANYONE} labeling training inference",
        "WriteImageLabels": "labeling",
        "GetHealthReport": f"{ANYONE} labeling training inference",
        "RefreshHealthReport": "admin trainer training",
        "ListFindingImages": f"{ANYONE} labeling training inference",
        "PreviewNormalization": f"{ANYONE} labeling training inference",
        "NormalizeLabels": "admin trainer training",
        "GetNormalization": f"{ANYONE} labeling training inference",
        "ListNormalizedFiles": f"{ANYONE} labeling training inference",
        "SetTestImages": "admin trainer training",
        "ListTestImages": f"{ANYONE} labeling training inference",
        "CreateLabelImport": "admin trainer training",
        "UploadLabels": "admin trainer training",
        "GetLabelImport": f"{ANYONE} labeling training inference",
        "ListLabelImports": f"{ANYONE} labeling training inference",
        "ListLabelImportRows": f"{ANYONE} labeling training inference",
        "TerminateLabelImport": "admin trainer training",
        "ExportLabels": f"{ANYONE} labeling training inference",
        "FreezeDataset": "admin trainer training",
        "GetVersion": f"{ANYONE} labeling training inference",
        "ListVersions": f"{ANYONE} labeling training inference",
        "ListVersionEntries": f"{ANYONE} labeling training inference",
        "DiffVersions": f"{ANYONE} labeling training inference",
        "CreateUpload": "admin trainer training",
        "UploadChunk": "admin trainer training",
        "GetUpload": f"{ANYONE} labeling training inference",
        "ListUploads": f"{ANYONE} labeling training inference",
        "ListUploadRows": f"{ANYONE} labeling training inference",
        "DeleteUpload": "admin trainer training",
        "CreateDemoDataset": "admin trainer training",
    },
    "labeling": {
        "GetPage": f"{ANYONE} labeling training inference",
        "ListPages": f"{ANYONE} labeling training inference",
        "ApplyOperations": "admin trainer labeler",
        "ListOperations": f"{ANYONE} labeling training inference",
        "SubmitPage": "admin trainer labeler",
        "ReturnPage": "admin trainer labeler",
        "CreatePrelabel": "admin trainer labeler",
        "GetPrelabel": f"{ANYONE} labeling training inference",
        "ListPrelabels": f"{ANYONE} labeling training inference",
    },
    "trainer": {
        "CreateTask": "admin trainer training",
        "GetTask": f"{ANYONE} labeling training inference",
        "ListTasks": f"{ANYONE} labeling training inference",
        "TerminateTask": "admin trainer training",
        "ListTaskLogs": f"{ANYONE} labeling training inference",
        "GetModel": f"{ANYONE} labeling training inference",
        "ListModels": f"{ANYONE} labeling training inference",
        "RetireModel": "admin trainer training",
        "ImportModel": "admin trainer training",
        "ReadBundle": f"{ANYONE} labeling training inference",
    },
    "inference": {
        "CreateDeployment": "admin deployer",
        "GetDeployment": f"{ANYONE} labeling training inference",
        "ListDeployments": f"{ANYONE} labeling training inference",
        "ScaleDeployment": "admin deployer",
        "StopDeployment": "admin deployer",
        "StartDeployment": "admin deployer",
        "DeleteDeployment": "admin deployer",
        "RevealToken": "admin deployer",
        "ListResourceTypes": f"{ANYONE} labeling training inference",
        "AcquireSuggestionInstance": "labeling",
        "Predict": "admin trainer deployer labeling gateway",
    },
    "gateway": {
        "ListAuditEntries": "admin",
        "GetStatus": "admin",
        "ListDeadLetters": "admin",
        "ReplayDeadLetter": "admin",
        "CreateUser": "admin",
        "GetUser": "admin",
        "ListUsers": "admin",
        "UpdateUser": "admin",
        "DeleteUser": "admin",
        "SetPassword": ANYONE,
        "CreateToken": ANYONE,
        "ListTokens": ANYONE,
        "DeleteToken": ANYONE,
        "GetCaller": ANYONE,
        "CreateAccessToken": ANYONE,
    },
}
EVENTS = "GET /v1/{name=projects/*}/events"
# Routes that no method's annotation describes.
HAND_WRITTEN = {
    "GET /v1/{name=projects/*/datasets/*/images/*}:bytes": ANYONE,
    "GET /v1/{name=projects/*/datasets/*/images/*}/thumbnail": ANYONE,
    "GET /v1/{name=projects/*/datasets/*/images/*}/tiles.json": ANYONE,
    "GET /v1/{name=projects/*/datasets/*/images/*}/tiles/{level}/{tile}": ANYONE,
    "GET /v1/{name=projects/*/models/*}:bundle": ANYONE,
    "POST /v1/{name=projects/*/models/*}:import": "admin trainer",
    "PATCH /v1/{name=projects/*/datasets/*/uploads/*}:bytes": "admin trainer",
    "POST /v1/{parent=projects/*/datasets/*}/labelImports:upload": "admin trainer",
    "GET /v1/{name=projects/*/datasets/*}:exportLabels": ANYONE,
    "GET /v1/{name=projects/*/datasets/*/versions/*}:exportLabels": ANYONE,
    EVENTS: ANYONE,
}
SERVICES = {"dataset": "dataset", "labeling": "labeling", "training": "trainer", "inference": "inference", "gateway": "gateway"}
CALLERS = {role.value.lower(): Caller(f"users/{role.value.lower()}", ROLE_PERMISSIONS[role]) for role in Role} | {
    word: Caller(f"services/{service}", SERVICE_PERMISSIONS[service]) for word, service in SERVICES.items()
}


def allowed(service: str, method: str) -> set[str]:
    return set(MATRIX[service][method].split())


def test_the_table_names_every_method_and_no_other() -> None:
    declared = {(method.containing_service.file.package.split(".")[1], method.name) for method in methods()}
    assert declared == {(service, method) for service, rows in MATRIX.items() for method in rows}


class Everything:
    """Has every method of every service, and finds nothing."""

    def add(self, _servicer: object, server: grpc.aio.Server) -> None:
        for file in API_FILES:
            for service in file.services_by_name.values():
                handlers = {}
                for method in service.methods:
                    make = {
                        (False, False): grpc.unary_unary_rpc_method_handler,
                        (False, True): grpc.unary_stream_rpc_method_handler,
                        (True, False): grpc.stream_unary_rpc_method_handler,
                    }[method.client_streaming, method.server_streaming]
                    request, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
                    answer = self.stream if method.server_streaming else self.answer
                    handlers[method.name] = make(answer, request.FromString, reply.SerializeToString)
                server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))

    async def answer(self, _request: object, _context: Context) -> object:
        raise NotFound("nothing here")

    async def stream(self, request: object, context: Context) -> AsyncIterator[object]:
        yield await self.answer(request, context)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    server, everything = GrpcServer("127.0.0.1:0", TRUST), Everything()
    for file in API_FILES:
        server.add(lambda *_: None, None, file)
    everything.add(None, server._server)
    await server.start()
    yield server.address
    await server.stop(0)


async def code_of(channel: grpc.aio.Channel, method: MethodDescriptor) -> grpc.StatusCode:
    """What the server says to a call of a method with an empty request."""
    streams_in, streams_out = method.client_streaming, method.server_streaming
    make: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }
    called = make[streams_in, streams_out](rpc_path(method), request_serializer=bytes, response_deserializer=bytes)
    try:
        call = called(iter([b""]) if streams_in else b"", timeout=10)
        if streams_out:
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_every_caller_before_every_method(address: str) -> None:
    wrong = []
    for word, caller in CALLERS.items():
        async with connect(address, credentials_of(caller)) as channel:
            for method in methods():
                service = method.containing_service.file.package.split(".")[1]
                code = await code_of(channel, method)
                # Every server answers for its own process; nothing else is found.
                inside = grpc.StatusCode.OK if method.name == "GetProcess" else grpc.StatusCode.NOT_FOUND
                expected = inside if word in allowed(service, method.name) else grpc.StatusCode.PERMISSION_DENIED
                if code != expected:
                    wrong.append(f"{word} {method.name}: {code.name}, not {expected.name}")
    assert wrong == []


async def test_a_stranger_reaches_no_method(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        assert {await code_of(channel, method) for method in methods()} == {grpc.StatusCode.UNAUTHENTICATED}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as found:
        yield found


async def token_of(world: World, role: Role) -> str:
    """A token of a fresh user."""
    name = role.value.lower()
    (await world.http.post("/v1/users", params={"userId": name}, json={"role": role.value})).raise_for_status()
    made = (await world.http.post(f"/v1/users/{name}/tokens", json={})).raise_for_status()
    return str(made.json()["secret"])


def form(route: Route | Binding) -> str:
    """``GET /v1/users``."""
    return f"{route.http_method} {route.template.text}"


def some_path(template: str) -> str:
    """A path that fits a template; its project is the one there is."""
    numbers = itertools.count()
    whole = re.sub(r"\{[a-z_.]+=([^}]*)\}", r"\1", template)
    whole = whole.replace("projects/*", "projects/default")
    return re.sub(r"\*", lambda _: f"x{next(numbers)}", whole)


async def test_every_role_before_every_route(world: World) -> None:
    compiled = bindings()
    expected = {form(binding): MATRIX[binding.service][binding.method.name] for binding in compiled} | HAND_WRITTEN
    routes = {form(route): route for route in management_routes(compiled, world.parts)}
    assert set(routes) == set(expected)
    wrong = []
    for role in Role:
        headers = {"Authorization": f"Bearer {await token_of(world, role)}"}
        for text, route in routes.items():
            if text == EVENTS and role.value.lower() in expected[text].split():
                continue  # It would never end.
            answer = await world.http.request(route.http_method, some_path(route.template.text), headers=headers)
            # What a method refuses because the resource is somebody else's names another permission than the route's.
            refused = {"reason": "FORBIDDEN", "permission": permission_pb2.Permission.Name(route.permission)}
            error = answer.json().get("error", {}) if answer.status_code >= 400 else {}
            is_refused = refused == {"reason": error.get("reason"), "permission": error.get("metadata", {}).get("permission")}
            if is_refused == (role.value.lower() in expected[text].split()) or answer.status_code == httpx.codes.UNAUTHORIZED:
                wrong.append(f"{role} {text}: {answer.status_code} {answer.text}")
    assert wrong == []


async def test_a_stranger_reaches_no_route(world: World) -> None:
    found = set()
    for route in management_routes(bindings(), world.parts):
        answer = await world.http.request(route.http_method, some_path(route.template.text), headers={"Authorization": ""})
        found.add((answer.status_code, answer.json()["error"]["reason"]))
    assert found == {(401, "UNAUTHENTICATED")}
