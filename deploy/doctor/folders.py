"""Checks of folders and files: home, key, roots of data sets, base models."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.finding import Finding, fail, ok, warn
from libs.ocrkit.bundle import BundleInvalid, open_bundle
from libs.ocrkit.models import BASES, base_bundle_path
from libs.runtime.allowed_roots import AllowedRoots
from libs.runtime.errors import NotFound
from libs.runtime.secrets import KEY_BYTES, KEY_FILE
from libs.runtime.settings import ServiceSettings


def home(settings: ServiceSettings) -> Iterator[Finding]:
    """Who may read and write the state."""
    folder = settings.home
    if not folder.exists():
        yield ok("home", f"{folder} is made at the first start")
        return
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield fail("home", f"{folder} cannot be written by this user", "Set INKWRIGHT_HOME to a folder of yours, or change its owner.")
        return
    yield _private("home", folder, stat.S_IMODE(folder.stat().st_mode), 0o700)


def key(settings: ServiceSettings) -> Iterator[Finding]:
    """What every stored token is encrypted under."""
    file = settings.home / KEY_FILE
    if not file.exists():
        has_state = (settings.home / "db").is_dir() and any((settings.home / "db").iterdir())
        if has_state:
            remedy = f"Restore {KEY_FILE} from a backup; without it no stored token can be read and every deployment has to be made again."
            yield fail("key", f"{file} is missing beside existing databases", remedy)
        else:
            yield ok("key", f"{file} is made at the first start")
        return
    size = file.stat().st_size
    if size != KEY_BYTES:
        yield fail("key", f"{file} has {size} bytes, a key has {KEY_BYTES}", "Restore it from a backup.")
        return
    yield _private("key", file, stat.S_IMODE(file.stat().st_mode), 0o600)


def roots(settings: ServiceSettings) -> Iterator[Finding]:
    """Folders that data sets may lie in."""
    allowed = AllowedRoots.from_setting(settings.roots).roots
    if not allowed:
        yield fail("roots", "no folder is allowed", "Set INKWRIGHT_ROOTS to the folders that hold images, separated by colons.")
    for root in allowed:
        if root.is_dir() and os.access(root, os.R_OK | os.X_OK):
            yield ok("roots", str(root))
        else:
            yield warn("roots", f"{root} cannot be read", "Make the folder, have its disk mounted, or take it out of INKWRIGHT_ROOTS.")


def models(settings: ServiceSettings) -> Iterator[Finding]:
    """The base models, every digest verified."""
    for base in BASES:
        try:
            bundle = open_bundle(base_bundle_path(base.name, settings.models))
        except (NotFound, BundleInvalid) as fault:
            yield fail(
                "models", fault.message, f"Run `make models`, or set INKWRIGHT_MODELS to where the bundles lie (now {settings.models})."
            )
        else:
            yield ok("models", f"{base.name}, {bundle.size_bytes / 1e6:.1f} MB, every digest right")


def _private(what: str, path: Path, mode: int, wanted: int) -> Finding:
    if mode & 0o077:
        return warn(what, f"{path} is open to other users (mode {mode:04o})", f"chmod {wanted:o} {path}")
    return ok(what, f"{path}, mode {mode:04o}")
