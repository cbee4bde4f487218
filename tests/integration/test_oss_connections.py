"""The file of connections: what is refused, and that its secrets are not shown."""

from pathlib import Path

import pytest

from libs.runtime.oss_connection import ConnectionsUnusable, read_connections
from tests.oss_server.connections import write_connections

WHOLE = {"endpoint": "https://oss-cn-test.example", "region": "cn-test", "access_key_id": "LTAI", "access_key_secret": "the-secret"}


def test_connections_are_read_by_name(tmp_path: Path) -> None:
    narrow = WHOLE | {"roots": ["oss://images/a/"], "signature": "v1", "proxy": "http://me:the-secret@proxy:3128", "max_tries": 2}
    found = read_connections(write_connections(tmp_path / "oss.toml", default=WHOLE, narrow=narrow))
    assert list(found) == ["default", "narrow"]
    assert found["narrow"].roots == ("oss://images/a/",)
    assert "the-secret" not in repr(found)
    assert read_connections(None) == {}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"access_key_secret": ""}, "give access_key_id and access_key_secret, or credentials_file"),
        ({"credentials_file": "/run/sts.json"}, "give access_key_id and access_key_secret, or credentials_file"),
        ({"region": ""}, "need the region"),
        ({"endpoint": "oss-cn-test.example"}, "endpoint"),
        ({"endpoint": "https://oss-cn-test.example/images"}, "endpoint"),
        ({"path_style": True, "custom_domain": True}, "exclude each other"),
        ({"ca_bundle": "/no/such.pem"}, "no ca_bundle"),
        ({"roots": ["images/a"]}, "no root"),
        ({"secret": "the-secret"}, "secret: Extra inputs"),
        ({"max_tries": 0}, "max_tries"),
    ],
)
def test_a_connection_that_is_not_whole_is_refused_without_its_secret(tmp_path: Path, change: dict[str, object], what: str) -> None:
    with pytest.raises(ConnectionsUnusable, match=what) as caught:
        read_connections(write_connections(tmp_path / "oss.toml", mine=WHOLE | change))
    assert "connection mine" in str(caught.value)
    assert "the-secret" not in str(caught.value)


def test_a_file_that_is_open_to_all_or_no_toml_is_refused(tmp_path: Path) -> None:
    path = write_connections(tmp_path / "oss.toml", default=WHOLE)
    path.chmod(0o644)
    with pytest.raises(ConnectionsUnusable, match=f"chmod 600 {path}"):
        read_connections(path)
    path.chmod(0o640)
    assert read_connections(path)
    path.write_text("access_key_secret = the-secret")
    with pytest.raises(ConnectionsUnusable, match="TOML") as caught:
        read_connections(path)
    assert "the-secret" not in str(caught.value)
    with pytest.raises(ConnectionsUnusable, match="No such file"):
        read_connections(tmp_path / "missing.toml")
