"""Who may call: the installation's management token. Deployments have tokens of their own, see ``public.routing``."""

from pathlib import Path

from libs.runtime.errors import Unauthenticated
from libs.runtime.secrets import new_token, same, write_once

TOKEN_FILE = "admin.token"


def load_admin_token(home: Path) -> str:
    """The management token of an installation, made at the first call.

    Raises:
        OSError: the file cannot be read or made.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return write_once(home / TOKEN_FILE, f"{new_token()}\n".encode()).decode().strip()


def token_in(header: str | None) -> str:
    """The token of an ``Authorization`` header: as it is, or after ``Bearer``; ``""`` without one."""
    given = (header or "").strip()
    scheme, _, rest = given.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else given


def check_admin(header: str | None, token: str) -> None:
    """Let the management token pass.

    Raises:
        Unauthenticated: anything else.
    """
    given = token_in(header)
    if not given:
        raise Unauthenticated("The Authorization header is missing; send `Authorization: Bearer <token>`.")
    if not same(given, token):
        raise Unauthenticated("The token is not this installation's; see the file admin.token in its home.")
