"""The installation's folder: who may use it, its key, its token."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libs.runtime import secrets
from libs.runtime.secrets import InstallationKey

LOCK = "supervisor.lock"
FOLDERS = ("db", "nats", "logs", "trainer", "inference")
RESTORING = ".restoring"
"""Lies in a home for as long as a backup is being restored into it."""


class CannotStart(Exception):
    """Something the operator has to put right first; the text says what and how."""


@contextmanager
def locked_home(home: Path) -> Iterator[Path]:
    """Make the folder (0700) with what belongs in it, and hold it for this process alone.

    Raises:
        CannotStart: another supervisor holds it, it cannot be written, or a backup is not wholly restored into it.
    """
    if (home / RESTORING).exists():
        raise CannotStart(f"A restore into {home} is under way or was cut off. If it was, remove that folder and restore again.")
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        for folder in FOLDERS:
            (home / folder).mkdir(exist_ok=True, mode=0o700)
        lock = (home / LOCK).open("a+")
    except OSError as error:
        raise CannotStart(f"{home} cannot be used as INKWRIGHT_HOME: {error.strerror}. Choose a folder of yours.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise CannotStart(
                f"Inkwright already runs on {home} (process {lock.read().strip() or 'unknown'}). "
                "Stop it first, or set INKWRIGHT_HOME to another folder."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        InstallationKey.load(home)
        yield home


def is_held(home: Path) -> bool:
    """Whether a supervisor runs on a folder."""
    try:
        with (home / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def admin_token(home: Path, wanted: str | None) -> str:
    """The token of the first user: ``wanted`` when it is set, else the one kept from earlier, else a new one; kept for later.

    Raises:
        CannotStart: a wanted token that cannot be a header value.
    """
    path = home / "admin.token"
    if wanted is None:
        return secrets.write_once(path, f"{secrets.new_token()}\n".encode()).decode().strip()
    if len(wanted) < 8 or not wanted.isascii() or not wanted.isprintable() or " " in wanted:
        raise CannotStart("INKWRIGHT_TOKEN must be at least 8 printable ASCII characters without a space.")
    path.unlink(missing_ok=True)
    secrets.write_once(path, f"{wanted}\n".encode())
    return wanted
