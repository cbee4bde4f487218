"""Settings: the only reader of the environment (prefix ``INKWRIGHT_``)."""

from pathlib import Path
from typing import ClassVar, Final, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.runtime.logs import LogFormat
from libs.runtime.secrets import InstallationKey
from libs.runtime.tls import Tls

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that holds ``libs``, ``services`` and ``gateway``."""


BUS_USER: Final = "inkwright"
"""Name under which processes sign in at the installation's own bus."""


def bus_password(key: InstallationKey) -> str:
    """Their password there."""
    return key.derive("bus").hex()


def _default_roots() -> str:
    return f"{Path.home()}:{CHECKOUT.parent}"


class ServiceSettings(BaseSettings):
    """What every process may be told; a service subclasses it, names itself and adds its own fields.

    ``address`` and ``database_url`` are the service's own among the five of each.
    """

    model_config = SettingsConfigDict(env_prefix="INKWRIGHT_", frozen=True, extra="ignore")

    service: ClassVar[str]
    """``dataset``, ``labeling``, ``trainer``, ``inference`` or ``gateway``."""

    home: Path = Field(default_factory=lambda: Path.home() / ".inkwright")
    roots: str = Field(default_factory=_default_roots)
    """Folders that data sets may lie in, separated by colons; see ``object_store.AllowedRoots``."""
    models: Path = CHECKOUT / "models"
    nats_url: str = "nats://127.0.0.1:4222"

    dataset_address: str = "127.0.0.1:50051"
    labeling_address: str = "127.0.0.1:50052"
    trainer_address: str = "127.0.0.1:50053"
    inference_address: str = "127.0.0.1:50054"
    gateway_address: str = "127.0.0.1:8080"

    dataset_database_url: str | None = None
    labeling_database_url: str | None = None
    trainer_database_url: str | None = None
    inference_database_url: str | None = None
    gateway_database_url: str | None = None

    tls_certificate: Path | None = None
    """PEM of this process; with the next two, calls between processes run over mutual TLS."""
    tls_key: Path | None = None
    tls_authority: Path | None = None

    log_level: str = "info"
    log_format: LogFormat = "json"
    grace_seconds: float = Field(default=10.0, gt=0)
    """How long work that has begun may take to finish after a signal."""

    @property
    def address(self) -> str:
        """``host:port`` that this service binds."""
        address: str = getattr(self, f"{self.service}_address")
        return address

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of this service's own database."""
        return self.database_url_of(self.service)

    def database_url_of(self, service: str) -> str:
        """SQLAlchemy URL of a service's database."""
        url: str | None = getattr(self, f"{service}_database_url")
        return url or f"sqlite+aiosqlite:///{self.home / 'db' / service}.sqlite"

    @property
    def bus_url(self) -> str:
        """The bus's address with a name and a password: those in the setting, or else those of an installation's own server."""
        if "@" in self.nats_url:
            return self.nats_url
        password = bus_password(InstallationKey.load(self.home))
        return ",".join(url.replace("://", f"://{BUS_USER}:{password}@") for url in self.nats_url.split(","))

    @property
    def tls(self) -> Tls | None:
        """The certificates; ``None`` for plain connections.

        Raises:
            OSError: one cannot be read.
        """
        return Tls.read(*self.tls_files) if self.tls_files else None

    @property
    def tls_files(self) -> tuple[Path, Path, Path] | None:
        """Certificate, key and authority."""
        if self.tls_certificate and self.tls_key and self.tls_authority:
            return self.tls_certificate, self.tls_key, self.tls_authority
        return None

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        files = (self.tls_certificate, self.tls_key, self.tls_authority)
        if any(files) and not all(files):
            raise ValueError("INKWRIGHT_TLS_CERTIFICATE, INKWRIGHT_TLS_KEY and INKWRIGHT_TLS_AUTHORITY go together; set all three or none")
        return self

    def masked(self) -> dict[str, str]:
        """Every field for the one line at start, secrets and passwords hidden."""
        return {key: _mask(value) for key, value in self}


def _mask(value: object) -> str:
    if isinstance(value, SecretStr):
        return "***"
    text = str(value)
    if "://" not in text:
        return text
    parts = urlsplit(text)
    # A token alone before the @ (nats://token@host) is as secret as a password.
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else text
