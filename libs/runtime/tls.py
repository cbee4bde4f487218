"""Mutual TLS between the processes, where it is set up."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from libs.runtime.cannot_start import CannotStart
from libs.runtime.times import utc_now

SERVER_NAME: Final = "inkwright.internal"
"""The name every process's certificate is for: processes are reached by addresses that change."""


@dataclass(frozen=True)
class Tls:
    """PEM of a process's certificate and key, and of the authority that signed those of all processes."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes

    @classmethod
    def read(cls, certificate: Path, key: Path, authority: Path) -> "Tls":
        """Read the three files.

        Raises:
            CannotStart: one cannot be read, is not what its setting says, or has run out; or key and certificate are no pair.
        """
        found = cls(
            _pem("INKWRIGHT_TLS_CERTIFICATE", certificate),
            _pem("INKWRIGHT_TLS_KEY", key),
            _pem("INKWRIGHT_TLS_AUTHORITY", authority),
        )
        # gRPC would only say that it cannot make a server, and name the port.
        own = _certificate("INKWRIGHT_TLS_CERTIFICATE", certificate, found.certificate)
        _certificate("INKWRIGHT_TLS_AUTHORITY", authority, found.authority)
        if _private_key(key, found.key).public_key() != own.public_key():
            raise CannotStart(
                f"INKWRIGHT_TLS_KEY: {key} is not the key of the certificate in {certificate}. Give the two that were made together."
            )
        return found

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a server that talks only to holders of a certificate of the same authority."""
        return grpc.ssl_server_credentials([(self.key, self.certificate)], root_certificates=self.authority, require_client_auth=True)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a channel to such a server."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)


def _pem(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotStart(f"{setting}: {path} cannot be read: {error.strerror}. Name a PEM file that this account may read.") from error


def _certificate(setting: str, path: Path, pem: bytes) -> x509.Certificate:
    """The first certificate of a file; those after it lead from it to an authority."""
    try:
        found = x509.load_pem_x509_certificates(pem)[0]
    except ValueError as error:
        raise CannotStart(f"{setting}: {path} holds no certificate in PEM. Restore it, or make a new one.") from error
    now, ends = utc_now(), found.not_valid_after_utc
    if not found.not_valid_before_utc <= now < ends:
        raise CannotStart(
            f"{setting}: the certificate in {path} is valid from {found.not_valid_before_utc:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC, "
            f"it is {now:%Y-%m-%d %H:%M} now. Make a new one, or set the clock right."
        )
    return found


def _private_key(path: Path, pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CannotStart(
            f"INKWRIGHT_TLS_KEY: {path} holds no private key in PEM without a password. Restore it, or make a new one."
        ) from error
