"""The installation's key and what is kept under it."""

import hmac
import os
import secrets
import tempfile
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libs.runtime.cannot_start import CannotStart

KEY_BYTES = 32
KEY_FILE = "secret.key"

_NONCE_BYTES = 12
_FORMAT = b"\x01"


class SecretUnreadable(Exception):
    """Bytes that were not encrypted with this key for this purpose."""


class InstallationKey:
    """One random AES-256 key an installation, in ``<home>/secret.key``, mode 0600. Whoever has it can read every stored token."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(key)

    @classmethod
    def load(cls, home: Path) -> Self:
        """Read the key, creating home (0700) and key when there are none.

        Raises:
            CannotStart: the file cannot be read or made, or is no key. It is never replaced: what is encrypted under it would be lost.
        """
        file = home / KEY_FILE
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = write_once(file, secrets.token_bytes(KEY_BYTES))
        except OSError as error:
            raise CannotStart(
                f"{file} cannot be read or made: {error.strerror}. INKWRIGHT_HOME must be a folder that this account may write; "
                "if the key is damaged, restore it from a backup."
            ) from error
        if len(key) != KEY_BYTES:
            raise CannotStart(f"{file} holds {len(key)} bytes, a key has {KEY_BYTES}: it is damaged. Restore it from a backup.")
        return cls(key)

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, from which this one cannot be found (HKDF-SHA-256, RFC 5869)."""
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=f"inkwright/{purpose}".encode()).derive(self._key)

    def encrypt(self, secret: str, *, purpose: str) -> bytes:
        """Encrypt; each call gives other bytes.

        Args:
            secret: what to hide.
            purpose: bound to the result, for example the resource name: nobody can move it to another row.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, secret.encode(), purpose.encode())

    def decrypt(self, data: bytes, *, purpose: str) -> str:
        """What was encrypted for this purpose.

        Raises:
            SecretUnreadable: another key, another purpose, or changed bytes.
        """
        nonce, body = data[1 : 1 + _NONCE_BYTES], data[1 + _NONCE_BYTES :]
        if data[:1] != _FORMAT or len(nonce) != _NONCE_BYTES:
            raise SecretUnreadable("not in a format this version writes")
        try:
            return self._cipher.decrypt(nonce, body, purpose.encode()).decode()
        except InvalidTag as error:
            raise SecretUnreadable(f"not encrypted with this key for {purpose!r}") from error


def new_token() -> str:
    """A fresh token: 43 characters that are safe in URLs, 256 random bits."""
    return secrets.token_urlsafe(32)


def same(given: str, expected: str) -> bool:
    """Compare two secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


def write_once(path: Path, content: bytes) -> bytes:
    """Create ``path`` (mode 0600) with ``content`` unless it exists; return what it holds. Two processes at once agree."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # A link never replaces, and shows the file only when it is whole.
            os.link(temporary, path)
        except FileExistsError:
            return path.read_bytes()
        finally:
            os.unlink(temporary)
        return content
