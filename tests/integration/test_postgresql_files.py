"""What an installation runs on its empty database."""

import base64
import hashlib
import hmac

import pytest

from libs.runtime.settings import CHECKOUT
from tests.integration.conftest import SERVICES
from tests.postgres import Postgres

PASSWORDS = CHECKOUT / "deploy" / "postgresql" / "passwords.sql"


def test_each_role_gets_its_password_from_the_environment(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    for service in SERVICES:
        monkeypatch.setenv(f"{service.upper()}_PASSWORD", f"it's {service}'s")
    postgres.sql("postgres", "-f", str(PASSWORDS))
    for service in SERVICES:
        kept = postgres.sql("postgres", "-c", f"SELECT rolpassword FROM pg_authid WHERE rolname = 'inkwright_{service}'").strip()
        assert _accepts(kept, f"it's {service}'s")
        assert not _accepts(kept, "another")


def _accepts(kept: str, password: str) -> bool:
    """Whether PostgreSQL would let this password in (RFC 5802)."""
    _, parameters, keys = kept.split("$")
    num_rounds, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(num_rounds))
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return base64.b64encode(stored).decode() == keys.split(":")[0]
