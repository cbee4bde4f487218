"""Times, settings, subjects, secrets, delays: the small values of the runtime."""

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from pydantic import SecretStr

from libs.runtime import call_context, logs, secrets
from libs.runtime.cannot_start import CannotStart
from libs.runtime.delivery import growing_delay
from libs.runtime.secrets import InstallationKey, SecretUnreadable
from libs.runtime.settings import ServiceSettings
from libs.runtime.subjects import fact_subject, snake_case
from libs.runtime.times import from_timestamp, to_timestamp


class DatasetSettings(ServiceSettings):
    service = "dataset"
    token: SecretStr | None = None


def test_moments_survive_the_wire_in_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=9)))
    stamp = to_timestamp(moment)
    assert stamp is not None
    back = from_timestamp(stamp)
    assert back is not None
    assert back == moment
    assert back.tzinfo is UTC


def test_a_moment_that_was_never_set_is_none_both_ways() -> None:
    assert to_timestamp(None) is None
    assert from_timestamp(Timestamp()) is None


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError):
        to_timestamp(datetime(2026, 1, 1))


def test_a_service_reads_its_own_address_and_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKWRIGHT_HOME", "/srv/ink")
    monkeypatch.setenv("INKWRIGHT_DATASET_ADDRESS", "0.0.0.0:7")
    assert DatasetSettings().address == "0.0.0.0:7"
    assert DatasetSettings().database_url == "sqlite+aiosqlite:////srv/ink/db/dataset.sqlite"
    monkeypatch.setenv("INKWRIGHT_DATASET_DATABASE_URL", "postgresql+psycopg://u:p@h/d")
    assert DatasetSettings().database_url == "postgresql+psycopg://u:p@h/d"


def test_printed_settings_hide_every_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKWRIGHT_TOKEN", "hunter2")
    monkeypatch.setenv("INKWRIGHT_NATS_URL", "nats://hunter2@h:4222")
    monkeypatch.setenv("INKWRIGHT_DATASET_DATABASE_URL", "postgresql+psycopg://user:hunter2@h:5432/d")
    masked = DatasetSettings().masked()
    assert "hunter2" not in json.dumps(masked)
    assert masked["dataset_database_url"] == "postgresql+psycopg://***@h:5432/d"
    assert masked["nats_url"] == "nats://***@h:4222"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError):
        DatasetSettings().log_level = "debug"


def test_facts_have_subjects_in_snake_case() -> None:
    assert snake_case("PageSubmitted") == "page_submitted"
    assert fact_subject("dataset", "image", StringValue, "im-1") == "inkwright.evt.v1.dataset.image.string_value.im-1"


@pytest.mark.parametrize("bad", ["", "a.b", "a b", ">", "ü"])
def test_a_subject_is_not_built_from_other_characters(bad: str) -> None:
    with pytest.raises(ValueError):
        fact_subject("dataset", bad, StringValue, "a")


def test_delays_grow_to_their_maximum() -> None:
    assert [growing_delay(tries) for tries in (1, 2, 3, 4)] == [0.5, 1, 2, 4]
    assert growing_delay(1000) == 60


def test_the_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    first = InstallationKey.load(tmp_path / "home")
    hidden = first.encrypt("token", purpose="deployments/a")
    assert (tmp_path / "home" / "secret.key").stat().st_mode & 0o777 == 0o600
    assert InstallationKey.load(tmp_path / "home").decrypt(hidden, purpose="deployments/a") == "token"
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret.key"]


def test_a_secret_opens_only_for_its_purpose_and_key(tmp_path: Path) -> None:
    key = InstallationKey.load(tmp_path / "a")
    hidden = key.encrypt("token", purpose="deployments/a")
    assert b"token" not in hidden
    assert hidden != key.encrypt("token", purpose="deployments/a")
    for other, data, purpose in (
        (key, hidden, "deployments/b"),
        (InstallationKey.load(tmp_path / "b"), hidden, "deployments/a"),
        (key, hidden[:-1] + bytes([hidden[-1] ^ 1]), "deployments/a"),
        (key, b"", "deployments/a"),
    ):
        with pytest.raises(SecretUnreadable):
            other.decrypt(data, purpose=purpose)


def test_a_damaged_key_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"short")
    with pytest.raises(CannotStart, match="holds 5 bytes"):
        InstallationKey.load(tmp_path)
    assert (tmp_path / "secret.key").read_bytes() == b"short"


def test_tokens_differ_and_compare() -> None:
    one, other = secrets.new_token(), secrets.new_token()
    assert len(one) == 43
    assert secrets.same(one, one)
    assert not secrets.same(one, other)


async def test_a_deadline_belongs_to_its_task() -> None:
    async def inside() -> float | None:
        call_context.set_deadline(5)
        return call_context.remaining_seconds()

    remaining = await asyncio.create_task(inside())
    assert remaining is not None
    assert 4 < remaining <= 5
    assert call_context.remaining_seconds() is None


def test_log_lines_carry_what_was_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    before = structlog.get_config()
    try:
        logs.configure_logs("dataset")
        with logs.bind(request_id="r1", resource="projects/default"):
            structlog.get_logger().info("node_finished", seconds=1.5)
        structlog.get_logger().debug("unseen")
    finally:
        structlog.configure(**before)
    line = json.loads(written.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "node_finished",
        "level": "info",
        "service": "dataset",
        "request_id": "r1",
        "resource": "projects/default",
        "seconds": 1.5,
    }
