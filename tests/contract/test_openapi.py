"""The OpenAPI document: valid, complete, commented."""

import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.transcode.rules import bindings
from tests.gateway_world import gateway_world


@pytest.fixture
async def document(tmp_path: Path) -> dict[str, Any]:
    async with gateway_world(tmp_path) as world:
        answer = await world.http.get("/openapi.json", headers={"Authorization": ""})
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


async def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


async def test_every_binding_and_every_hand_written_route_is_in_it(document: dict[str, Any]) -> None:
    documented = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}
    pictures = {"ReadImageBytes", "ReadImageThumbnail", "ReadDeepZoom", "ReadImageTile"}
    transfer = {"UploadLabelFile", "DownloadLabels", "DownloadVersionLabels"}
    hand_written = (
        pictures | transfer | {"SendUploadChunk", "DownloadBundle", "ImportBundle", "StreamEvents", "Predict", "SignIn", "SignOut"}
    )
    assert documented == {binding.method.name for binding in bindings()} | hand_written


async def test_comments_of_the_protos_are_descriptions(document: dict[str, Any]) -> None:
    update = document["paths"]["/v1/projects/{project}/datasets/{dataset}"]["patch"]
    assert update["description"] == "Changes the description; every other field is refused."
    assert [parameter["name"] for parameter in update["parameters"]] == ["project", "dataset", "updateMask"]
    schemas = document["components"]["schemas"]
    assert schemas["dataset.v1.Dataset"]["properties"]["path"]["description"].startswith("LOCAL: an absolute path")
    assert "`READY`: The index can be used." in schemas["dataset.v1.Dataset.State"]["description"]


async def test_types_are_those_of_protobuf_s_json(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    dataset = schemas["dataset.v1.Dataset"]["properties"]
    assert (dataset["syncNumber"]["type"], dataset["createTime"]["format"]) == ("string", "date-time")
    assert schemas["trainer.v1.Model"]["properties"]["modelSize"]["additionalProperties"] == {"type": "string", "format": "int64"}


async def test_every_reference_leads_somewhere_and_every_operation_names_its_right(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/([\w.]+)", str(document)))
    assert names <= document["components"]["schemas"].keys()
    for path, item in document["paths"].items():
        for operation in item.values():
            if path.startswith("/api/") or path == "/v1/session":
                continue
            assert operation["x-inkwright-permission"] in ("VIEW", "LABEL", "TRAIN", "DEPLOY", "ADMINISTER", "SIGNED_IN")
            assert operation["security"] == [{"token": []}, {"session": []}]
