"""What processes of a test prove themselves by."""

from pathlib import Path
from typing import Final

from libs.runtime.access_token import AccessKey
from libs.runtime.caller import ALL_PERMISSIONS, Caller
from libs.runtime.secrets import KEY_FILE, InstallationKey
from libs.runtime.trust import Credentials, Trust, access_key

KEY_BYTES: Final = b"k" * 32
KEY: Final = InstallationKey(KEY_BYTES)
TRUST: Final = Trust(AccessKey(access_key(KEY)))
ANYBODY: Final = Caller("users/ann", ALL_PERMISSIONS)
"""Someone who may do everything."""


def credentials_of(caller: Caller) -> Credentials:
    """What a caller shows to processes with the key above."""
    return Credentials(lambda: TRUST.key.sign(caller), TRUST.tls)


CREDENTIALS: Final = credentials_of(ANYBODY)


def keyed(home: Path) -> Path:
    """Put the key above into a home."""
    home.mkdir(parents=True, exist_ok=True)
    (home / KEY_FILE).write_bytes(KEY_BYTES)
    return home
