"""Connections to Alibaba Cloud OSS: what the operator writes down under a name, so that data sets name them and hold no secret."""

import json
import os
import stat
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import oss2
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from libs.runtime.logs import get_logger

log = get_logger()


class ConnectionsUnusable(Exception):
    """The file of connections, or of credentials, cannot be used; the text says why and holds no secret."""


class OssConnection(BaseModel):
    """One table of the file, for example ``[default]``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: str = Field(pattern=r"^https?://[^/]+$")
    """``https://oss-cn-hangzhou.aliyuncs.com``, an internal one, or a domain of one's own. Never guessed from the region."""
    region: str = ""
    """``cn-hangzhou``; part of signatures of version 4."""
    access_key_id: str = ""
    access_key_secret: SecretStr = SecretStr("")
    credentials_file: Path | None = None
    """Instead of these two: JSON as STS and the metadata service of a machine give it, read again when it changes."""
    roots: tuple[str, ...] = ()
    """``oss://bucket/prefix/`` that data sets may lie in; none for whatever the credentials open."""
    signature: Literal["v4", "v1"] = "v4"
    path_style: bool = False
    """``https://endpoint/bucket/key`` instead of ``https://bucket.endpoint/key``."""
    custom_domain: bool = False
    """The endpoint is a domain that is bound to the one bucket."""
    ca_bundle: Path | None = None
    """PEM of a private authority; none for the public ones."""
    proxy: SecretStr | None = None
    """Its URL, which may hold a password. Variables such as ``HTTPS_PROXY`` are not looked at."""
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    read_timeout_seconds: float = Field(default=30.0, gt=0)
    """For the next bytes, not for all of them."""
    max_tries: int = Field(default=5, ge=1, le=20)
    first_delay_seconds: float = Field(default=0.2, ge=0, le=10)
    """Before the second try; doubled before each further one."""
    threads: int = Field(default=8, ge=1, le=64)
    """Requests at one moment."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        has_key = bool(self.access_key_id and self.access_key_secret.get_secret_value())
        if has_key == (self.credentials_file is not None):
            raise ValueError("give access_key_id and access_key_secret, or credentials_file")
        if self.signature == "v4" and not self.region:
            raise ValueError("signatures of version 4 need the region, for example cn-hangzhou")
        if self.path_style and self.custom_domain:
            raise ValueError("path_style and custom_domain exclude each other")
        if self.ca_bundle is not None and not self.ca_bundle.is_file():
            raise ValueError(f"there is no ca_bundle {self.ca_bundle}")
        if wrong := [root for root in self.roots if not root.startswith("oss://")]:
            raise ValueError(f"{wrong[0]} is no root; write oss://bucket/prefix/")
        return self

    def credentials(self) -> "oss2.CredentialsProvider":
        """Where each request gets its credentials."""
        if self.credentials_file is not None:
            return CredentialsFile(self.credentials_file)
        return oss2.StaticCredentialsProvider(self.access_key_id, self.access_key_secret.get_secret_value())


def read_connections(path: Path | None) -> dict[str, OssConnection]:
    """The connections by name; none without a file.

    Raises:
        ConnectionsUnusable: the file cannot be read, is open to others, or a connection in it is not whole.
    """
    if path is None:
        return {}
    try:
        tables = tomllib.loads(_read_secret(path).decode())
    except (OSError, ValueError) as error:
        raise ConnectionsUnusable(f"{path} cannot be read as TOML: {error}") from None
    found: dict[str, OssConnection] = {}
    for name, table in tables.items():
        try:
            found[name] = OssConnection.model_validate(table)
        except ValidationError as error:
            # Its own text may quote what it was given.
            reasons = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'connection'}: {one['msg']}" for one in error.errors(include_input=False)
            )
            raise ConnectionsUnusable(f"{path}, connection {name}: {reasons}") from None
    return found


class CredentialsFile(oss2.CredentialsProvider):  # type: ignore[misc]  # oss2 has no types
    """Temporary credentials from a file that another program renews. Threads may share it.

    The file holds ``AccessKeyId``, ``AccessKeySecret`` and ``SecurityToken``, by themselves or below ``Credentials``, as
    ``AssumeRole`` answers. While it cannot be read, what it said last is used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_as: tuple[int, int, int] | None = None
        self._credentials: oss2.credentials.Credentials | None = None

    def get_credentials(self) -> "oss2.credentials.Credentials":
        """See ``oss2``.

        Raises:
            ConnectionsUnusable: the file could not be read yet.
        """
        with self._lock:
            try:
                status = os.stat(self._path)
                read_as = (status.st_mtime_ns, status.st_size, status.st_ino)
                if read_as != self._read_as:
                    self._credentials = _credentials_from(_read_secret(self._path))
                    self._read_as = read_as
            except (OSError, ValueError, ConnectionsUnusable) as error:
                # It may be just being written. ValueErrors of json quote nothing of the document.
                if self._credentials is None:
                    raise ConnectionsUnusable(f"{self._path} holds no credentials that can be used: {error}") from None
                log.warning("oss_credentials_kept", path=str(self._path), error=str(error))
            return self._credentials


def _credentials_from(data: bytes) -> "oss2.credentials.Credentials":
    found = json.loads(data)
    if isinstance(found, Mapping):
        found = found.get("Credentials", found)
    words = [found.get(word) if isinstance(found, Mapping) else None for word in ("AccessKeyId", "AccessKeySecret", "SecurityToken")]
    if not all(isinstance(word, str) and word for word in words):
        raise ValueError("AccessKeyId, AccessKeySecret and SecurityToken are wanted")
    return oss2.credentials.Credentials(*words)


def _read_secret(path: Path) -> bytes:
    with open(path, "rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o007:
            raise ConnectionsUnusable(f"{path} holds secrets and is open to every account of this machine; run: chmod 600 {path}")
        return file.read()
