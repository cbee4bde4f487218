"""What `inkctl` shows to an installation: the session of a sign-in, or the token of an installation on this machine."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Only there is the token of this machine's installation shown: it may do everything."""


def base_url(url: str) -> str:
    """An installation's address in one form, whatever was typed."""
    return (url if "://" in url else f"http://{url}").rstrip("/")


def found_token(url: str) -> str:
    """``INKWRIGHT_TOKEN``; else the session signed in to at ``url``; else, where that is this machine, its own token; else ``""``."""
    if token := os.environ.get("INKWRIGHT_TOKEN"):
        return token
    if session := kept_session(url):
        return session
    if urlsplit(base_url(url)).hostname not in LOOPBACK:
        return ""
    file = Path(os.environ.get("INKWRIGHT_HOME", "~/.inkwright")).expanduser() / "admin.token"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def keep_session(url: str, session: str) -> None:
    """Remember a session for the commands that follow; ``""`` forgets it."""
    sessions = {**_sessions(), base_url(url): session}
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=0o600)
    part.write_text(json.dumps({url: session for url, session in sessions.items() if session}), encoding="utf-8")
    part.replace(path)


def kept_session(url: str) -> str:
    """The session signed in to at ``url``; ``""`` without one."""
    return _sessions().get(base_url(url), "")


def _sessions() -> dict[str, str]:
    try:
        kept = json.loads(_path().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(url): str(session) for url, session in kept.items()} if isinstance(kept, dict) else {}


def _path() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "inkwright" / "sessions.json"
