"""Requests of the client against the annotations, and refusals as exceptions."""

import json

import httpx
import pytest

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from libs.client.inkwright import DATASETS, Inkwright
from libs.client.rest import ApiError, RestClient, Unreachable


def client_with(handler: httpx.MockTransport) -> RestClient:
    client = RestClient("http://gateway", "token")
    client._http = httpx.Client(transport=handler, base_url="http://gateway", headers=client._http.headers)
    return client


def test_path_query_and_body_follow_the_annotation() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"name": "projects/p/datasets/d"})

    request = dataset_service_pb2.CreateDatasetRequest(
        parent="projects/p", dataset_id="d", dataset=dataset_pb2.Dataset(path="/x", description="größe")
    )
    before = request.SerializeToString()
    made = client_with(httpx.MockTransport(answer)).call(DATASETS, "CreateDataset", request, dataset_pb2.Dataset)
    assert made.name == "projects/p/datasets/d"
    assert (seen[0].method, seen[0].url.path, seen[0].url.query) == ("POST", "/v1/projects/p/datasets", b"datasetId=d")
    assert json.loads(seen[0].content) == {"path": "/x", "description": "größe"}
    assert seen[0].headers["authorization"] == "Bearer token"
    assert request.SerializeToString() == before


def test_a_refusal_keeps_reason_metadata_and_request_id() -> None:
    error = {"code": 404, "status": "NOT_FOUND", "reason": "NOT_FOUND", "message": "no such", "metadata": {"name": "x"}, "requestId": "r1"}
    client = client_with(httpx.MockTransport(lambda _: httpx.Response(404, json={"error": error})))
    with pytest.raises(ApiError, match="no such") as raised:
        Inkwright(client).get_dataset("x")
    assert (raised.value.status, raised.value.reason, raised.value.metadata, raised.value.request_id) == (
        404,
        "NOT_FOUND",
        {"name": "x"},
        "r1",
    )


def test_an_answer_from_something_else_is_a_refusal_too() -> None:
    client = client_with(httpx.MockTransport(lambda _: httpx.Response(502, text="<html>bad gateway</html>")))
    with pytest.raises(ApiError, match="HTTP 502"):
        Inkwright(client).get_dataset("x")


def test_nothing_listening_says_what_to_do() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable, match="make run"):
        Inkwright(client_with(httpx.MockTransport(refuse))).get_dataset("x")


def test_lists_follow_the_page_token() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if b"pageToken=next" in request.url.query:
            return httpx.Response(200, json={"datasets": [{"name": "b"}]})
        return httpx.Response(200, json={"datasets": [{"name": "a"}], "nextPageToken": "next"})

    found = Inkwright(client_with(httpx.MockTransport(answer))).list_datasets()
    assert [dataset.name for dataset in found] == ["a", "b"]


@pytest.mark.parametrize("address", ["gateway:8080", "http://gateway:8080", "http://gateway:8080/"])
def test_an_address_needs_no_scheme(address: str) -> None:
    client = RestClient(address, "token")
    assert client.url == "http://gateway:8080"
    client.close()
