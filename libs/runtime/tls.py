"""Mutual TLS between the processes, where it is set up."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

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
            OSError: one cannot be read.
        """
        return cls(certificate.read_bytes(), key.read_bytes(), authority.read_bytes())

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a server that talks only to holders of a certificate of the same authority."""
        return grpc.ssl_server_credentials([(self.key, self.certificate)], root_certificates=self.authority, require_client_auth=True)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a channel to such a server."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)
