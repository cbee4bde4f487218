"""The installation's folder: who may use it, its key, its token."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libs.runtime import secrets
from libs.runtime.admin_token import MIN_LENGTH, TOKEN_FILE, is_token, load_admin_token
from libs.runtime.cannot_start import CannotStart
from libs.runtime.secrets import InstallationKey

LOCK = "supervisor.lock"
FOLDERS = ("db", "nats", "logs", "trainer", "inference")
RESTORING = ".restoring"
"""Lies in a home for as long as a backup is being restored into it."""


@contextmanager
def written(home: Path) -> Iterator[None]:
    """Say what it means that a file of the home cannot be written in the block.

    Raises:
        CannotStart: it cannot.
    """
    try:
        yield
    except OSError as error:
        raise CannotStart(
            f"{error.filename or home}: {error.strerror}. {home} cannot be used as INKWRIGHT_HOME; "
            "it must be a folder that this account may write, on a disk with room."
        ) from error


@contextmanager
def locked_home(home: Path) -> Iterator[Path]:
    """Make the folder (0700) with what belongs in it, and hold it for this process alone.

    Raises:
        CannotStart: another supervisor holds it, it cannot be written, or a backup is not wholly restored into it.
    """
    with written(home):
        if (home / RESTORING).exists():
            raise CannotStart(f"A restore into {home} is under way or was cut off. If it was, remove that folder and restore again.")
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        for folder in FOLDERS:
            (home / folder).mkdir(exist_ok=True, mode=0o700)
        lock = (home / LOCK).open("a+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise CannotStart(
                f"Inkwright already runs on {home} (process {lock.read().strip() or 'unknown'}). "
                "Stop it first, or set INKWRIGHT_HOME to another folder."
            ) from error
        with written(home):
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
        CannotStart: a wanted token that cannot be a header value, or a kept one that is damaged.
    """
    if wanted is None:
        return load_admin_token(home)
    if not is_token(wanted):
        raise CannotStart(f"INKWRIGHT_TOKEN must be at least {MIN_LENGTH} printable ASCII characters without a space.")
    with written(home):
        (home / TOKEN_FILE).unlink(missing_ok=True)
        secrets.write_once(home / TOKEN_FILE, f"{wanted}\n".encode())
    return wanted
