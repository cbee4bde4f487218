"""What `inkctl` shows to an installation: the session of a sign-in, or the token of an installation on this machine."""

import json
import os
from pathlib import Path


def found_token(url: str) -> str:
    """``INKWRIGHT_TOKEN``; else the session signed in to at ``url``; else the token of an installation on this machine; else ``""``."""
    if token := os.environ.get("INKWRIGHT_TOKEN"):
        return token
    if session := _sessions().get(url):
        return session
    file = Path(os.environ.get("INKWRIGHT_HOME", "~/.inkwright")).expanduser() / "admin.token"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def keep_session(url: str, session: str) -> None:
    """Remember a session for the commands that follow; ``""`` forgets it."""
    sessions = {**_sessions(), url: session}
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=0o600)
    part.write_text(json.dumps({url: session for url, session in sessions.items() if session}), encoding="utf-8")
    part.replace(path)


def kept_session(url: str) -> str:
    """The session signed in to at ``url``; ``""`` without one."""
    return _sessions().get(url, "")


def _sessions() -> dict[str, str]:
    try:
        kept = json.loads(_path().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(url): str(session) for url, session in kept.items()} if isinstance(kept, dict) else {}


def _path() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "inkwright" / "sessions.json"
