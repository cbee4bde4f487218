"""A setting or a file that is not as it must be ends a start at once, in words, with what to do."""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.certs import make_certificates
from libs.runtime.cannot_start import EXIT_CODE, CannotStart
from libs.runtime.tls import Tls
from tests.integration.test_supervisor import environment

NAMES = ("CERTIFICATE", "KEY", "AUTHORITY")


def run(module: str, home: Path, *, before: Sequence[str] = (), **changes: str) -> tuple[int, str]:
    """Exit code and stderr of a process that is to end by itself; ``before`` stands before its command line."""
    ended = subprocess.run(
        [*before, sys.executable, "-m", module], env=environment(home, **changes), capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("secret.key", b"", "secret.key holds 0 bytes, a key has 32: it is damaged. Restore it from a backup."),
        ("secret.key", b"k" * 31, "secret.key holds 31 bytes"),
        ("secret.key", None, "secret.key cannot be read or made: Is a directory."),
        ("admin.token", b"", "admin.token holds no token: it is damaged. Remove it"),
        ("admin.token", b"\xff\xfe\x00\x01" * 9, "admin.token holds no token"),
        ("admin.token", b"two words\nand more\n", "admin.token holds no token"),
        ("admin.token", None, "admin.token cannot be read or made: Is a directory."),
        ("nats", b"", "cannot be used as INKWRIGHT_HOME"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(file: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.mkdir() if content is None else path.write_bytes(content)
    code, errors = run("deploy.embedded", tmp_path)
    assert (code, said in errors, "Traceback" in errors) == (1, True, False), errors
    assert path.is_dir() if content is None else path.read_bytes() == content


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_home_that_is_no_folder_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    home = tmp_path / "file" / below
    code, errors = run("deploy.embedded", home)
    assert (code, f"{home} cannot be used as INKWRIGHT_HOME" in errors, "Traceback" in errors) == (1, True, False), errors


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRACE_SECONDS", "soon"),
        ("LOG_LEVEL", "loud"),
        ("NATS_URL", "127.0.0.1:4222"),
        ("LABELING_ADDRESS", "localhost:port"),
        ("DATASET_METRICS_ADDRESS", "9101"),
        ("DATASET_DATABASE_URL", "mysql://root@localhost/ink"),
        ("OTLP_ENDPOINT", "collector:4318"),
        ("TLS_CERTIFICATE", "/nowhere/own.pem"),
    ],
)
def test_a_wrong_variable_is_named_by_a_service_without_its_value(name: str, value: str, tmp_path: Path) -> None:
    changes = {f"INKWRIGHT_{name}": value, "INKWRIGHT_METRICS_TOKEN": "t" * 16}
    if name.startswith("TLS"):
        changes |= {f"INKWRIGHT_TLS_{other}": value for other in NAMES}
    code, errors = run("services.dataset.main", tmp_path, **changes)
    assert (code, f"INKWRIGHT_{name}: " in errors, "Traceback" in errors) == (EXIT_CODE, True, False), errors
    assert "root@" not in errors


def test_a_damaged_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    damaged = tmp_path / "db" / "dataset.sqlite"
    damaged.write_bytes(b"no database at all" * 1000)
    code, errors = run("services.dataset.main", tmp_path)
    assert (code, "The database of dataset is damaged (file is not a database). Restore a backup" in errors) == (EXIT_CODE, True), errors
    assert damaged.read_bytes() == b"no database at all" * 1000


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("dataset.pem", b"", "INKWRIGHT_TLS_CERTIFICATE: .*dataset.pem holds no certificate"),
        ("authority.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n", "INKWRIGHT_TLS_AUTHORITY: .*authority.pem holds no certificate"),
        ("dataset.key", b"nonsense", "INKWRIGHT_TLS_KEY: .*dataset.key holds no private key"),
        ("dataset.key", None, "INKWRIGHT_TLS_KEY: .*dataset.key cannot be read"),
        ("dataset.key", "labeling.key", "INKWRIGHT_TLS_KEY: .*dataset.key is not the key of the certificate"),
    ],
)
def test_a_damaged_certificate_or_key_is_named(file: str, content: bytes | str | None, said: str, tmp_path: Path) -> None:
    make_certificates(tmp_path, at=datetime.now(UTC))
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes((tmp_path / content).read_bytes() if isinstance(content, str) else content)
    with pytest.raises(CannotStart, match=said):
        Tls.read(tmp_path / "dataset.pem", tmp_path / "dataset.key", tmp_path / "authority.pem")


@pytest.mark.parametrize("days", [-900, 2])
def test_a_certificate_of_another_time_is_named_with_the_clock(days: int, tmp_path: Path) -> None:
    make_certificates(tmp_path, at=datetime.now(UTC) + timedelta(days=days))
    with pytest.raises(CannotStart, match=r"dataset.pem is valid from .* Make a new one, or set the clock right"):
        Tls.read(tmp_path / "dataset.pem", tmp_path / "dataset.key", tmp_path / "authority.pem")


def test_a_home_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    # Root may write everywhere, unless it gives that up.
    before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    code, errors = run("deploy.embedded", tmp_path / "closed" / "home", before=before)
    assert (code, "Permission denied" in errors, "Traceback" in errors) == (1, True, False), errors
