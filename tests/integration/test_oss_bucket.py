"""What OSS has of its own as an object store: names, rights, credentials, and everything that goes wrong on the way there."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.certs import make_certificates
from libs.runtime import oss_bucket
from libs.runtime.allowed_roots import PathNotFound
from libs.runtime.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from libs.runtime.oss_bucket import OssBucket
from libs.runtime.oss_client import OssClient
from libs.runtime.oss_connection import OssConnection
from libs.runtime.oss_faults import StoreForbidden, StoreUnavailable
from libs.runtime.tls import SERVER_NAME
from tests.integration.listing import all_keys
from tests.oss_server import OssServer, Trouble, oss_server
from tests.oss_server.messages import Refused, Request
from tests.oss_server.objects import stored
from tests.oss_server.server import DOMAIN, SECRET
from tests.oss_server.signatures import Account
from tests.oss_server.trouble import Kind

Open = Callable[..., OssBucket]


@pytest.fixture
def server() -> Iterator[OssServer]:
    with oss_server() as server:
        server.new_bucket("images")
        yield server


@pytest.fixture
def opened(server: OssServer) -> Iterator[Open]:
    """Opens the bucket ``images`` below ``cards/``; further settings go to the connection."""
    clients: list[OssClient] = []

    def open_bucket(prefix: str = "cards/", bucket: str = "images", **settings: object) -> OssBucket:
        clients.append(OssClient("test", OssConnection.model_validate(server.connection(**settings))))
        return OssBucket(clients[-1], bucket, prefix)

    yield open_bucket
    for client in clients:
        client.close()


def put(server: OssServer, *names: str, data: bytes | None = None) -> None:
    for name in names:
        server.buckets["images"].put(name, stored(name.encode() if data is None else data))


def asked(server: OssServer) -> list[str]:
    return [request.method for request in server.requests]


async def test_names_that_no_folder_can_have_are_keys(server: OssServer, opened: Open) -> None:
    names = ["cards/a//b.jpg", "cards//a.jpg", "cards/?.jpg", "cards/a\x01b.jpg", "cards/a\\..\\b.jpg", "cards/ .jpg"]
    put(server, *names, "cards/", "cards/folder/", "cards/./a.jpg", "cards/a/../b.jpg", "cards0.jpg", "other/a.jpg")
    store = opened()
    keys = sorted(name.removeprefix("cards/") for name in names)
    assert await all_keys(store) == await all_keys(store, limit=1) == keys
    for key in keys:
        assert await store.read(key) == f"cards/{key}".encode()
        with pytest.raises(AlreadyExists):
            await store.write_new(key, b"")


@pytest.mark.parametrize("signature", ["v4", "v1"])
async def test_a_whole_bucket_is_a_store_too(server: OssServer, opened: Open, signature: str) -> None:
    put(server, "?acl", "a.jpg", "b/c.jpg")
    store = opened(prefix="", signature=signature)
    assert await all_keys(store) == ["?acl", "a.jpg", "b/c.jpg"]
    assert await store.read("?acl") == b"?acl"
    with pytest.raises(InvalidInput, match="InvalidObjectName"):
        await store.write_new("/a.jpg", b"")


async def test_a_listing_asks_for_a_thousand_at_once(server: OssServer, opened: Open) -> None:
    put(server, *(f"cards/{number:04}.jpg" for number in range(2500)), data=b"x")
    assert len(await all_keys(opened(), limit=5000)) == 2500
    assert asked(server) == ["GET"] * 3


async def test_a_long_object_comes_in_pieces(server: OssServer, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oss_bucket, "PIECE_BYTES", 10)
    data = bytes(range(35))
    put(server, "cards/a.bmp", data=data)
    store = opened()
    assert [chunk async for chunk in store.read_stream("a.bmp", chunk_bytes=6)] == [
        data[start : min(start + 6, end)] for begin, end in ((0, 10), (10, 20), (20, 30), (30, 35)) for start in range(begin, end, 6)
    ]
    assert asked(server) == ["GET"] * 4
    # Otherwise the last piece, which reaches over the end, would be answered with everything.
    assert {request.headers["x-oss-range-behavior"] for request in server.requests} == {"standard"}
    put(server, "cards/exact.bmp", data=data[:20])
    assert b"".join([chunk async for chunk in store.read_stream("exact.bmp")]) == data[:20]


async def test_a_stream_never_mixes_two_contents(server: OssServer, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oss_bucket, "PIECE_BYTES", 10)
    put(server, "cards/a.bmp", data=b"1" * 20)
    chunks = opened().read_stream("a.bmp")
    assert await anext(chunks) == b"1" * 10
    put(server, "cards/a.bmp", data=b"2" * 20)
    with pytest.raises(Conflict, match="replaced while it was read"):
        await anext(chunks)


async def test_what_is_stored_compressed_comes_as_stored(server: OssServer, opened: Open) -> None:
    server.buckets["images"].put("cards/a.bmp", stored(b"\x1f\x8bno gzip at all", {"content-encoding": "gzip"}))
    assert await opened().read("a.bmp") == b"\x1f\x8bno gzip at all"


async def test_a_range_that_is_ignored_is_cut_here(server: OssServer, opened: Open) -> None:
    put(server, "cards/a.bmp", data=b"0123456789")

    def drop_range(request: Request) -> None:
        del request.headers["range"]

    server.troubles = [Trouble(Kind.FIRST, happens=drop_range, times=-1)]
    store = opened()
    assert await store.read("a.bmp", start=2, length=3) == b"234"
    assert b"".join([chunk async for chunk in store.read_stream("a.bmp")]) == b"0123456789"


@pytest.mark.parametrize("trouble", [Trouble.throttled, Trouble.broken, lambda **where: Trouble(Kind.UNHEARD, **where)])
async def test_passing_trouble_is_waited_out(server: OssServer, opened: Open, trouble: Callable[..., Trouble]) -> None:
    put(server, "cards/a.jpg")
    store = opened(max_tries=3)
    for read in (store.read, store.head, store.list):
        server.troubles, server.requests = [trouble(times=2)], []
        await read("a.jpg")
        assert len(server.requests) == 3
        server.troubles = [trouble(times=3)]
        with pytest.raises(StoreUnavailable) as caught:
            await read("a.jpg")
        assert caught.value.reason == "STORE_UNAVAILABLE"


async def test_a_body_that_breaks_off_is_read_again(server: OssServer, opened: Open) -> None:
    put(server, "cards/a.jpg", data=b"0123456789" * 10_000)
    server.troubles = [Trouble(Kind.CUT, times=2)]
    store = opened()
    assert len(await store.read("a.jpg")) == 100_000
    server.troubles = [Trouble(Kind.CUT, times=1)]
    assert await all_keys(store) == ["a.jpg"]


async def test_silence_ends_with_the_time_limit(server: OssServer, opened: Open) -> None:
    put(server, "cards/a.jpg")
    server.troubles = [Trouble(Kind.SILENT, times=2)]
    with pytest.raises(StoreUnavailable, match="ReadTimeout"):
        await opened(read_timeout_seconds=0.1, max_tries=2).read("a.jpg")
    # One that is only slow to begin with is waited for.
    assert await opened(read_timeout_seconds=5, max_tries=2).read("a.jpg") == b"cards/a.jpg"


async def test_an_address_where_nothing_listens_is_named_as_unreachable(opened: Open) -> None:
    with pytest.raises(StoreUnavailable, match="OSS cannot be reached over connection test"):
        await opened(endpoint="http://127.0.0.1:9", max_tries=2).list()


async def test_an_answer_that_is_not_oss_is_not_followed(server: OssServer, opened: Open) -> None:
    class Moved(Refused):
        def answer(self, request_id: str, *, has_body: bool) -> object:  # type: ignore[override]
            answer = super().answer(request_id, has_body=has_body)
            answer.headers["Location"] = f"{server.url}/images/elsewhere"
            return answer

    put(server, "elsewhere")
    server.troubles = [Trouble(Kind.REFUSE, Moved(302, "Moved", ""))]
    with pytest.raises(StoreUnavailable, match="does not answer as OSS does"):
        await opened().read("a.jpg")
    assert len(server.requests) == 1


async def test_a_write_whose_answer_got_lost_is_known_again(server: OssServer, opened: Open) -> None:
    store = opened()
    server.troubles = [Trouble(Kind.UNHEARD, method="PUT")]
    info = await store.write_new("a.xml", b"mine")
    server.troubles = [Trouble(Kind.UNHEARD, method="PUT")]
    replaced = await store.replace("a.xml", b"mine again", if_etag=info.etag)
    assert await store.head("a.xml") == replaced
    assert await store.read("a.xml") == b"mine again"
    server.troubles = [Trouble(Kind.UNHEARD, method="DELETE")]
    await store.delete("a.xml")
    assert await all_keys(store) == []
    assert asked(server).count("PUT") == 2


async def test_a_lost_answer_excuses_nobody_elses_content(server: OssServer, opened: Open) -> None:
    def theirs(_request: Request) -> None:
        put(server, "cards/a.xml", data=b"theirs")

    store = opened()
    server.troubles = [Trouble.broken(method="PUT"), Trouble(Kind.FIRST, happens=theirs, method="PUT")]
    with pytest.raises(AlreadyExists):
        await store.write_new("a.xml", b"mine")
    assert await store.read("a.xml") == b"theirs"
    found = await store.head("a.xml")
    put(server, "cards/a.xml", data=b"theirs too")
    with pytest.raises(Conflict):
        await store.replace("a.xml", b"mine", if_etag=found.etag)
    found = await store.head("a.xml")
    server.troubles = [Trouble.broken(method="PUT"), Trouble(Kind.FIRST, happens=theirs, method="HEAD", after=1)]
    with pytest.raises(Conflict):
        await store.replace("a.xml", b"mine", if_etag=found.etag)
    assert await store.read("a.xml") == b"theirs"


async def test_who_writes_between_look_and_write_is_not_overwritten(server: OssServer, opened: Open) -> None:
    server.troubles = [Trouble(Kind.FIRST, happens=lambda _: put(server, "cards/a.xml", data=b"theirs"), method="PUT")]
    store = opened()
    with pytest.raises(AlreadyExists):
        await store.write_new("a.xml", b"mine")
    assert await store.read("a.xml") == b"theirs"


async def test_a_lost_race_of_replacing_is_noticed_afterwards(server: OssServer, opened: Open) -> None:
    store = opened()
    info = await store.write_new("a.xml", b"old")
    # The second look is the one after the write.
    later = Trouble(Kind.FIRST, happens=lambda _: put(server, "cards/a.xml", data=b"theirs"), method="HEAD", after=1)
    server.troubles = [later]
    with pytest.raises(Conflict, match="at the same moment"):
        await store.replace("a.xml", b"mine", if_etag=info.etag)
    assert await store.read("a.xml") == b"theirs"


async def test_an_object_that_vanishes_is_not_found(server: OssServer, opened: Open) -> None:
    put(server, "cards/a.jpg")
    server.troubles = [
        Trouble(Kind.FIRST, happens=lambda request: server.buckets["images"].remove(request.key), method="GET", key="cards/a.jpg")
    ]
    store = opened()
    assert (await store.head("a.jpg")).size_bytes > 0
    with pytest.raises(NotFound):
        await store.read("a.jpg")


@pytest.mark.parametrize(
    ("right", "ask"),
    [
        ("oss:ListObjects", lambda store: store.list()),
        ("oss:GetObject", lambda store: store.head("a.jpg")),
        ("oss:GetObject", lambda store: store.read("a.jpg")),
        ("oss:PutObject", lambda store: store.write_new("b.jpg", b"")),
        ("oss:DeleteObject", lambda store: store.delete("a.jpg")),
    ],
)
async def test_a_missing_right_is_named(server: OssServer, opened: Open, right: str, ask: Callable[[OssBucket], object]) -> None:
    put(server, "cards/a.jpg")
    server.denied = {right}
    with pytest.raises(StoreForbidden, match=right) as caught:
        await ask(opened())  # type: ignore[misc]
    assert caught.value.reason == "STORE_FORBIDDEN"
    assert caught.value.metadata["bucket"] == "images"
    assert "images" in caught.value.message


@pytest.mark.parametrize("signature", ["v4", "v1"])
async def test_a_wrong_key_is_refused_and_told_without_secrets(opened: Open, server: OssServer, signature: str) -> None:
    for wrong in ({"access_key_secret": SECRET + "x"}, {"access_key_id": "LTAIother"}):
        with pytest.raises(StoreForbidden, match="does not accept the credentials of connection test") as caught:
            await opened(signature=signature, **wrong).list()
        assert SECRET not in caught.value.message + repr(caught.value.metadata)
    assert len(server.requests) == 2


@pytest.mark.parametrize("signature", ["v4", "v1"])
async def test_a_clock_that_is_wrong_is_named(server: OssServer, opened: Open, signature: str) -> None:
    server.clock_offset = timedelta(minutes=14)
    assert await all_keys(opened(signature=signature)) == []
    for minutes in (16, -16):
        server.clock_offset = timedelta(minutes=minutes)
        with pytest.raises(StoreForbidden, match="clock"):
            await opened(signature=signature).list()


async def test_a_signature_is_for_one_region(opened: Open) -> None:
    with pytest.raises(InvalidInput, match="region"):
        await opened(region="cn-elsewhere").list()


async def test_a_bucket_that_is_not_there_is_no_empty_one(opened: Open) -> None:
    with pytest.raises(PathNotFound, match="no bucket nowhere"):
        await opened(bucket="nowhere").list()
    with pytest.raises(InvalidInput, match="bucket_name is invalid"):
        opened(bucket="Capital")


async def test_an_archived_object_says_so(server: OssServer, opened: Open) -> None:
    archived = Refused(403, "InvalidObjectState", "The operation is not valid for the object's state")
    server.troubles = [Trouble(Kind.REFUSE, archived)]
    with pytest.raises(InvalidInput, match="archived"):
        await opened().read("a.jpg")


@pytest.mark.parametrize("signature", ["v4", "v1"])
async def test_temporary_credentials_are_read_again(server: OssServer, opened: Open, tmp_path: Path, signature: str) -> None:
    file = tmp_path / "sts.json"

    def renew(number: int) -> None:
        server.accounts = {f"STS.{number}": Account(f"secret {number}", f"token/{number}+=")}
        said = {"AccessKeyId": f"STS.{number}", "AccessKeySecret": f"secret {number}", "SecurityToken": f"token/{number}+="}
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"Credentials": said} if number % 2 else said))
        part.chmod(0o600)
        part.replace(file)

    renew(1)
    put(server, "cards/a.jpg")
    store = opened(signature=signature, access_key_id="", access_key_secret="", credentials_file=file)
    assert await all_keys(store) == ["a.jpg"]
    renew(2)
    assert await all_keys(store) == ["a.jpg"]
    # Renewed while a request was on its way: it is refused, and asked again with the new ones.
    server.troubles = [Trouble(Kind.FIRST, happens=lambda _: renew(3))]
    assert await store.read("a.jpg") == b"cards/a.jpg"
    # Half written, or expired without a new one: the last ones are used, then the refusal is told.
    file.write_text("{")
    assert await all_keys(store) == ["a.jpg"]
    server.accounts["STS.3"].expired = True
    with pytest.raises(StoreForbidden, match="SecurityTokenExpired"):
        await store.list()


async def test_temporary_credentials_that_cannot_be_read_are_named(opened: Open, tmp_path: Path) -> None:
    file = tmp_path / "sts.json"
    settings = {"access_key_id": "", "access_key_secret": "", "credentials_file": file}
    with pytest.raises(StoreForbidden, match=r"sts\.json"):
        await opened(**settings).list()
    file.write_text('{"AccessKeyId": "STS.1", "AccessKeySecret": "s", "SecurityToken": "t"}')
    file.chmod(0o644)
    with pytest.raises(StoreForbidden, match="chmod 600"):
        await opened(**settings).list()


@pytest.mark.parametrize("signature", ["v4", "v1"])
async def test_a_proxy_leads_to_the_bucket_under_its_own_name(server: OssServer, opened: Open, signature: str) -> None:
    put(server, "cards/a b.jpg")
    shared = {"proxy": server.url, "path_style": False, "signature": signature}
    assert await all_keys(opened(endpoint=f"http://{DOMAIN}", **shared)) == ["a b.jpg"]
    assert await opened(endpoint=f"http://images.{DOMAIN}", custom_domain=True, **shared).read("a b.jpg") == b"cards/a b.jpg"


async def test_variables_of_the_environment_lead_nowhere(
    server: OssServer, opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    put(server, "cards/a.jpg")
    assert await all_keys(opened()) == ["a.jpg"]


async def test_a_private_authority_is_trusted_when_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_certificates(tmp_path, at=datetime.now(UTC))
    resolve = socket.getaddrinfo

    def here(host: str, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host == SERVER_NAME else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with oss_server(certificate=tmp_path / "dataset.pem", key=tmp_path / "dataset.key") as server:
        server.new_bucket("images")
        settings = server.connection(endpoint=server.url.replace("127.0.0.1", SERVER_NAME), max_tries=2)
        stranger = OssClient("test", OssConnection.model_validate(settings))
        with pytest.raises(StoreUnavailable, match="certificate of OSS connection test is not trusted"):
            await OssBucket(stranger, "images", "").list()
        friend = OssClient("test", OssConnection.model_validate(settings | {"ca_bundle": tmp_path / "authority.pem"}))
        assert await all_keys(OssBucket(friend, "images", "")) == []
        for client in (stranger, friend):
            client.close()
        assert len(server.requests) == 1
