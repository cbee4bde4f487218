"""Is the OSS that our tests run against one? Alibaba's own clients say so: ``ali-oss`` here, and ``oss2`` where ours does not go."""

import base64
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import oss2
import pytest

from libs.runtime.settings import CHECKOUT
from tests.oss_server import OssServer, oss_server
from tests.oss_server.objects import crc64
from tests.oss_server.server import KEY_ID, REGION, SECRET
from tests.oss_server.signatures import Account

PACKAGE = "ali-oss@6.23.0"
FOLDER = CHECKOUT / "build" / "ali-oss"
SCRIPT = Path(__file__).parents[1] / "oss_server" / "ali_oss.cjs"


@pytest.fixture(scope="module")
def ali_oss() -> Path:
    """The client; npm is asked for it once."""
    program = FOLDER / "node_modules" / "ali-oss"
    if not program.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        options = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save")
        subprocess.run(["npm", "install", *options, "--prefix", str(FOLDER), PACKAGE], check=True, timeout=100)
    return program


@pytest.fixture
def server() -> Iterator[OssServer]:
    with oss_server() as server:
        server.new_bucket("images")
        yield server


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize("token", ["", "a/token+of=sts"])
def test_what_ali_oss_asks_is_answered_as_oss_does(ali_oss: Path, server: OssServer, version: str, token: str) -> None:
    server.accounts[KEY_ID].token = token
    command = ["node", str(SCRIPT), str(ali_oss), server.url, REGION, KEY_ID, SECRET, version, *([token] if token else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["objects", "conditions", "listings", "multipart", "urls", "deletions", "refusals"]


def bucket(server: OssServer, version: str, **options: object) -> oss2.Bucket:
    auth = oss2.AuthV4(KEY_ID, SECRET) if version == "v4" else oss2.Auth(KEY_ID, SECRET)
    return oss2.Bucket(auth, server.url, "images", region=REGION, is_path_style=True, **options)


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_what_oss2_uploads_in_parts_and_copies_is_whole(server: OssServer, version: str, tmp_path: Path) -> None:
    # Its own sums of CRC-64 are on here, as they are by default.
    mine = bucket(server, version)
    data = bytes(range(256)) * 2000
    (tmp_path / "file").write_bytes(data)
    store = oss2.ResumableStore(root=str(tmp_path))
    oss2.resumable_upload(mine, "部分 1.bin", str(tmp_path / "file"), store, multipart_threshold=1000, part_size=150_000, num_threads=2)
    assert mine.get_object("部分 1.bin").read() == data
    assert [one.size for one in oss2.ObjectIteratorV2(mine)] == [len(data)]
    mine.copy_object("images", "部分 1.bin", "copy.bin")
    assert mine.head_object("copy.bin").server_crc == crc64(data)
    assert sorted(mine.batch_delete_objects(["部分 1.bin", "copy.bin"]).deleted_keys) == ["copy.bin", "部分 1.bin"]
    upload_id = mine.init_multipart_upload("a.bin").upload_id
    for number in range(1, 6):
        mine.upload_part("a.bin", upload_id, number, b"x" * number)
    assert [part.size for part in oss2.PartIterator(mine, "a.bin", upload_id, max_parts=2)] == [1, 2, 3, 4, 5]
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        mine.complete_multipart_upload("a.bin", upload_id, [oss2.models.PartInfo(1, hashlib.md5(b"x").hexdigest().upper())] * 2)
    assert caught.value.code == "InvalidPartOrder"


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_urls_that_oss2_signs_hold_for_their_time(server: OssServer, version: str) -> None:
    mine = bucket(server, version)
    mine.put_object("a b/ä&?.txt", b"content")
    assert mine.get_object_with_url(mine.sign_url("GET", "a b/ä&?.txt", 60)).read() == b"content"
    headers = {"x-oss-forbid-overwrite": "true"}
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        mine.put_object_with_url(mine.sign_url("PUT", "a b/ä&?.txt", 60, headers=headers), b"x", headers=headers)
    assert caught.value.code == "FileAlreadyExists"
    with pytest.raises(oss2.exceptions.AccessDenied):
        mine.get_object_with_url(mine.sign_url("GET", "a b/ä&?.txt", -1))
    with pytest.raises(oss2.exceptions.SignatureDoesNotMatch):
        mine.put_object_with_url(mine.sign_url("GET", "a b/ä&?.txt", 60), b"x")


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_a_digest_that_does_not_fit_is_refused(server: OssServer, version: str) -> None:
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with pytest.raises(oss2.exceptions.InvalidDigest):
        bucket(server, version).put_object("a.txt", b"content", headers={"Content-MD5": wrong})


def test_temporary_keys_need_their_token(server: OssServer) -> None:
    server.accounts["STS.1"] = Account("secret", "token")
    for version in (oss2.AUTH_VERSION_1, oss2.AUTH_VERSION_4):
        right, wrong = (oss2.StsAuth("STS.1", "secret", token, auth_version=version) for token in ("token", "other"))
        oss2.Bucket(right, server.url, "images", region=REGION, is_path_style=True).put_object("a.txt", b"x")
        with pytest.raises(oss2.exceptions.ServerError) as caught:
            oss2.Bucket(wrong, server.url, "images", region=REGION, is_path_style=True).get_object("a.txt")
        assert caught.value.code == "InvalidSecurityToken"


def test_the_sum_is_the_published_one() -> None:
    assert crc64(b"123456789") == 0x995DC9BBDF1939FA
