"""The management API over real gRPC: verbs, tokens, files, errors."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from libs.runtime.admin_token import load_admin_token
from tests.gateway_world import ADMIN_TOKEN, DATASETS, IMAGE, World, bmp, element, gateway_world

RECEIPTS = f"{DATASETS}/receipts"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path, management_max_body_bytes=10_000, bundle_max_bytes=3_000_000) as found:
        yield found


@pytest.fixture
def _with_info_lines() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.configure(**before)


async def create(world: World) -> None:
    answer = await world.http.post(DATASETS, params={"datasetId": "receipts"}, json={"path": "/data", "description": "Grüße 收据"})
    assert answer.status_code == 200, answer.text


async def test_a_resource_is_created_read_changed_and_deleted(world: World) -> None:
    await create(world)
    read = await world.http.get(RECEIPTS)
    assert read.headers["content-type"] == "application/json"
    found = read.json()
    # Defaults are printed, int64 is text, nothing but what must be is escaped.
    assert (found["name"], found["syncNumber"], found["errorMessage"], found["state"]) == (
        "projects/default/datasets/receipts",
        "9007199254740993",
        "",
        "INDEXING",
    )
    assert "Grüße 收据".encode() in read.content
    changed = await world.http.patch(RECEIPTS, json={"description": "new"})
    assert changed.json()["description"] == "new"
    assert list(world.datasets.last_request.update_mask.paths) == ["description"]
    deleted = await world.http.delete(RECEIPTS, params={"etag": "e1"})
    assert (deleted.status_code, deleted.json(), world.datasets.last_request.etag) == (200, {}, "e1")


async def test_the_request_id_travels_to_the_service_and_back(world: World) -> None:
    await create(world)
    answer = await world.http.get(RECEIPTS, headers={"X-Request-Id": "my-id.1"})
    assert (answer.headers["X-Request-Id"], world.datasets.seen_request_id) == ("my-id.1", "my-id.1")
    forged = await world.http.get(RECEIPTS, headers={"X-Request-Id": 'x" injected'})
    assert len(forged.headers["X-Request-Id"]) == 32


@pytest.mark.parametrize("header", [f"Bearer {ADMIN_TOKEN}", f"bearer  {ADMIN_TOKEN} ", ADMIN_TOKEN])
async def test_the_management_token_opens(world: World, header: str) -> None:
    assert (await world.http.get(RECEIPTS, headers={"Authorization": header})).status_code == 404


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", ADMIN_TOKEN[:-1], f"Basic {ADMIN_TOKEN}", f"Bearer {ADMIN_TOKEN}x"])
@pytest.mark.parametrize("path", [RECEIPTS, "/v1/nothing/here", f"/v1/{IMAGE}:bytes"])
async def test_nothing_opens_to_another_token_not_even_a_404(world: World, header: str, path: str) -> None:
    answer = await world.http.get(path, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "UNAUTHENTICATED")
    assert world.datasets.last_request is None


def test_the_token_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    token = load_admin_token(home)
    assert (load_admin_token(home), len(token) >= 40) == (token, True)
    assert (home / "admin.token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "path", ["/v1/projects/default/nothing", f"{RECEIPTS}/", f"{RECEIPTS}:nothing", "/v1/", "/nothing", "/v1", "//v1/projects"]
)
async def test_an_unknown_path_is_404_in_json(world: World, path: str) -> None:
    answer = await world.http.get(path)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", RECEIPTS, "DELETE, GET, PATCH"), ("GET", f"{RECEIPTS}:sync", "POST"), ("DELETE", f"/v1/{IMAGE}:bytes", "GET")],
)
async def test_another_method_is_405_with_allow(world: World, method: str, path: str, allowed: str) -> None:
    answer = await world.http.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json()["error"]["metadata"]["allowed"] == allowed


async def test_405_of_the_plain_paths(world: World) -> None:
    answer = await world.http.post("/healthz")
    assert (answer.status_code, "GET" in answer.headers["Allow"], answer.json()["error"]["code"]) == (405, True, 405)


async def test_unexposed_methods_cannot_be_reached(world: World) -> None:
    for path in (f"/v1/{IMAGE}/labels:write", "/inkwright.dataset.v1.DatasetService/WriteImageLabels"):
        assert (await world.http.post(path, json={})).status_code == 404


async def test_unknown_keys_are_400_by_name(world: World) -> None:
    query = await world.http.get(f"{RECEIPTS}/images", params={"pageSizes": "1"})
    body = await world.http.patch(RECEIPTS, json={"descriptoin": "x"})
    for answer, name in ((query, "pageSizes"), (body, "descriptoin")):
        error = answer.json()["error"]
        assert (answer.status_code, error["reason"], error["metadata"]["field"]) == (400, "UNKNOWN_FIELD", name)
    assert world.datasets.last_request is None


async def test_query_values_arrive_typed(world: World) -> None:
    await world.http.get(f"{RECEIPTS}/images", params={"pageSize": "7", "labelState": "SUBMITTED", "key": "ä b/c.jpg"})
    request = world.datasets.last_request
    assert (request.page_size, request.label_state, request.key, request.parent) == (7, 3, "ä b/c.jpg", RECEIPTS.removeprefix("/v1/"))


async def test_a_body_over_the_limit_is_413(world: World) -> None:
    answer = await world.http.patch(RECEIPTS, json={"description": "x" * 20_000})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "TOO_LARGE")


async def test_what_nobody_foresaw_is_hidden(world: World) -> None:
    world.datasets.fault = RuntimeError("a secret of the inside")
    answer = await world.http.get(RECEIPTS)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (500, "INTERNAL")
    assert "secret" not in answer.text


async def test_what_is_away_is_503(world: World) -> None:
    # In this world neither labeling nor the bus is there.
    for path in (f"{RECEIPTS}/pages", "/v1/projects/default/events"):
        answer = await world.http.get(path)
        assert (answer.status_code, answer.json()["error"]["reason"], answer.headers["Retry-After"]) == (503, "NO_READY_INSTANCE", "1")


async def test_image_bytes_have_their_type_and_tag(world: World) -> None:
    answer = await world.http.get(f"/v1/{IMAGE}:bytes")
    assert (answer.content, answer.headers["content-type"], answer.headers["etag"]) == (world.datasets.image, "image/bmp", '"tag-1"')
    again = await world.http.get(f"/v1/{IMAGE}:bytes", headers={"If-None-Match": 'W/"tag-1", "other"'})
    assert (again.status_code, again.content, world.datasets.num_reads) == (304, b"", 1)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"<html>", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
async def test_the_type_comes_from_the_bytes(world: World, data: bytes, media_type: str) -> None:
    world.datasets.image = data
    answer = await world.http.get(f"/v1/{IMAGE}:bytes")
    assert (answer.content, answer.headers["content-type"], answer.headers["x-content-type-options"]) == (data, media_type, "nosniff")


async def test_a_changed_or_missing_image_is_a_fault_not_half_an_answer(world: World) -> None:
    world.datasets.store_etag = "tag-2"
    assert (await world.http.get(f"/v1/{IMAGE}:bytes")).status_code == 409
    assert (await world.http.get(f"/v1/{IMAGE}0:bytes")).status_code == 404


async def test_a_bundle_goes_in_and_comes_out_unchanged(world: World) -> None:
    bundle = bytes(range(256)) * 10_000
    path = "/v1/projects/default/models/mine"
    assert (await world.http.get(f"{path}:bundle")).status_code == 404
    imported = await world.http.post(f"{path}:import", content=bundle)
    assert imported.json()["name"] == "projects/default/models/mine"
    assert world.trainer.largest_piece <= 1024 * 1024
    exported = await world.http.get(f"{path}:bundle")
    assert (exported.content, exported.headers["content-disposition"]) == (bundle, 'attachment; filename="mine.bundle"')


async def test_an_upload_is_refused_by_name_or_by_size(world: World) -> None:
    path = "/v1/projects/default/models/mine:import"

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(100_000)

    assert (await world.http.post(path, content=b"bundle")).status_code == 200
    assert (await world.http.post(path, content=bytes(2_000_000))).status_code == 409
    assert (await world.http.post(path.replace("mine", "other"), content=bytes(4_000_000))).status_code == 413
    assert (await world.http.post(path.replace("mine", "other"), content=pieces())).status_code == 413
    assert "projects/default/models/other" not in world.trainer.bundles


async def test_the_document_and_the_health_check_need_no_token(world: World) -> None:
    for path in ("/openapi.json", "/healthz"):
        assert (await world.http.get(path, headers={"Authorization": ""})).status_code == 200


@pytest.mark.usefixtures("_with_info_lines")
async def test_log_lines_hold_templates_and_never_tokens_or_bodies(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    await create(world)
    await world.http.get(RECEIPTS, headers={"X-Request-Id": "rq-7"})
    world.deploy("reader")
    await world.predict("reader", element(bmp(40, 40)))
    await world.predict("reader", element(bmp(40, 40)), token="some-wrong-token")
    written = "".join(capfd.readouterr())
    lines = [line for line in written.splitlines() if "request_finished" in line]
    assert len(lines) == 4
    assert any("/v1/{name=projects/*/datasets/*}" in line and "rq-7" in line and "status=200" in line for line in lines)
    for secret in (ADMIN_TOKEN, "some-wrong-token", "Grüße", element(bmp(40, 40))["body"]):
        assert str(secret)[:40] not in written


@pytest.mark.parametrize(
    ("asked", "content_range", "wanted"),
    [
        ("bytes=0-3", "bytes 0-3/100", slice(0, 4)),
        ("bytes=96-", "bytes 96-99/100", slice(96, None)),
        ("bytes=-5", "bytes 95-99/100", slice(95, None)),
        ("bytes=-500", "bytes 0-99/100", slice(None)),
        ("bytes=90-4000", "bytes 90-99/100", slice(90, None)),
    ],
)
async def test_a_range_of_an_image_comes_alone(world: World, asked: str, content_range: str, wanted: slice) -> None:
    world.datasets.image = b"BM" + bytes(range(98))
    answer = await world.http.get(f"/v1/{IMAGE}:bytes", headers={"Range": asked})
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, world.datasets.image[wanted], content_range)
    assert (answer.headers["content-type"], answer.headers["accept-ranges"]) == ("image/bmp", "bytes")


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-3, 6-9"},
        {"Range": "bytes=9-3"},
        {"Range": "bytes=-"},
        {"Range": "lines=0-3"},
        {"Range": "bytes=0-3", "If-Range": '"tag-0"'},
    ],
)
async def test_what_is_no_single_range_is_answered_whole(world: World, headers: dict[str, str]) -> None:
    answer = await world.http.get(f"/v1/{IMAGE}:bytes", headers=headers)
    assert (answer.status_code, answer.content) == (200, world.datasets.image)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=4000-5000", "bytes=-0"])
async def test_a_range_behind_the_image_is_refused_with_its_size(world: World, asked: str) -> None:
    world.datasets.image = bytes(100)
    answer = await world.http.get(f"/v1/{IMAGE}:bytes", headers={"Range": asked})
    assert (answer.status_code, answer.headers["content-range"], world.datasets.num_reads) == (416, "bytes */100", 0)


@pytest.mark.parametrize(("path", "content"), [("thumbnail?size=99", b"thumbnail of 99"), ("tiles/11/2_1.jpg", b"tile 11 2 1")])
async def test_thumbnails_and_tiles_are_read_once_by_who_keeps_them(world: World, path: str, content: bytes) -> None:
    answer = await world.http.get(f"/v1/{IMAGE}/{path}")
    assert (answer.content, answer.headers["content-type"], answer.headers["cache-control"]) == (content, "image/jpeg", "private, no-cache")
    again = await world.http.get(f"/v1/{IMAGE}/{path}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content, world.datasets.num_reads) == (304, b"", 1)
    world.datasets.store_etag = "tag-2"
    assert (await world.http.get(f"/v1/{IMAGE}/{path}", headers={"If-None-Match": answer.headers["etag"]})).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"), [("thumbnail?size=big", 400), ("thumbnail?size=-1", 400), ("tiles/11/2-1.jpg", 404), ("tiles/x/2_1.jpg", 404)]
)
async def test_a_picture_that_cannot_be_named_is_refused(world: World, path: str, status: int) -> None:
    assert (await world.http.get(f"/v1/{IMAGE}/{path}")).status_code == status


async def test_viewers_of_deep_zoom_find_the_tiles(world: World) -> None:
    described = (await world.http.get(f"/v1/{IMAGE}/tiles.json")).json()["Image"]
    assert described == {
        "xmlns": "http://schemas.microsoft.com/deepzoom/2008",
        "Url": f"/v1/{IMAGE}/tiles/",
        "Format": "jpg",
        "Overlap": "0",
        "TileSize": "512",
        "Size": {"Width": "1300", "Height": "700"},
    }
    assert (await world.http.get(f"{described['Url']}11/0_0.jpg")).content == b"tile 11 0 0"
    assert (await world.http.get(f"/v1/{IMAGE}/tiles")).json()["numLevels"] == 12
