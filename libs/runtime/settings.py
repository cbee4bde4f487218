"""Settings: the only reader of the environment (prefix ``INKWRIGHT_``)."""

import re
from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.runtime.logs import LogFormat, LogLevel
from libs.runtime.secrets import InstallationKey
from libs.runtime.tls import Tls

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that holds ``libs``, ``services`` and ``gateway``."""
MIN_TOKEN_LENGTH = 16
"""Of the token for metrics."""


BUS_USER: Final = "inkwright"
"""Name under which processes sign in at the installation's own bus."""


_ADDRESS: Final = re.compile(r"[^\s,]+:(\d{1,5})")
_ADDRESSES: Final = ("dataset_address", "labeling_address", "trainer_address", "inference_address", "gateway_address")
_METRICS_ADDRESSES: Final = (
    "dataset_metrics_address",
    "labeling_metrics_address",
    "trainer_metrics_address",
    "inference_metrics_address",
    "gateway_metrics_address",
    "instance_metrics_address",
)
_DATABASE_URLS: Final = (
    "dataset_database_url",
    "labeling_database_url",
    "trainer_database_url",
    "inference_database_url",
    "gateway_database_url",
)


def bus_password(key: InstallationKey) -> str:
    """Their password there."""
    return key.derive("bus").hex()


def _default_roots() -> str:
    return f"{Path.home()}:{CHECKOUT.parent}"


class ServiceSettings(BaseSettings):
    """What every process may be told; a service subclasses it, names itself and adds its own fields.

    ``address`` and ``database_url`` are the service's own among the five of each.
    """

    model_config = SettingsConfigDict(env_prefix="INKWRIGHT_", frozen=True, extra="ignore", hide_input_in_errors=True)

    service: ClassVar[str]
    """``dataset``, ``labeling``, ``trainer``, ``inference`` or ``gateway``."""

    home: Path = Field(default_factory=lambda: Path.home() / ".inkwright")
    roots: str = Field(default_factory=_default_roots)
    """Folders that data sets may lie in, separated by colons; see ``object_store.AllowedRoots``."""
    models: Path = CHECKOUT / "models"
    nats_url: str = "nats://127.0.0.1:4222"
    nats_replicas: int = Field(default=1, ge=1, le=5)
    """Copies that a cluster of NATS keeps of each stream; 1 for a single server."""

    # Of the others: one ``host:port``, whose name may stand for several replicas, or several IPv4 ones separated by commas.
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
    dataset_metrics_address: str = ""
    labeling_metrics_address: str = ""
    trainer_metrics_address: str = ""
    inference_metrics_address: str = ""
    gateway_metrics_address: str = ""
    instance_metrics_address: str = ""
    """``host:port`` where a process shows its metrics; empty for nowhere. Of instances there are many: theirs has port 0, and
    inference tells which ports they took."""
    metrics_token: SecretStr | None = None
    """What a scraper sends as ``Authorization: Bearer``."""
    otlp_endpoint: str = ""
    """Base URL of an OTLP collector that speaks HTTP; empty for no traces."""

    log_level: LogLevel = "info"
    log_format: LogFormat = "json"
    grace_seconds: float = Field(default=10.0, gt=0)
    """How long work that has begun may take to finish after a signal."""

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level

    @field_validator(*_ADDRESSES, *_METRICS_ADDRESSES)
    @classmethod
    def _is_address(cls, address: str) -> str:
        # Peers may be several; an empty address is no metrics.
        for part in address.split(",") if address else ():
            found = _ADDRESS.fullmatch(part.strip())
            if found is None or int(found[1]) > 65535:
                raise ValueError(f"{part!r} is no address; write it as host:port, for example 127.0.0.1:8080.")
        return address

    @field_validator(*_DATABASE_URLS)
    @classmethod
    def _is_database(cls, url: str | None) -> str | None:
        if url and not url.startswith(("sqlite+aiosqlite:///", "postgresql+psycopg://")):
            raise ValueError("it must begin with postgresql+psycopg:// or sqlite+aiosqlite:///")
        return url

    @field_validator("nats_url")
    @classmethod
    def _is_bus(cls, urls: str) -> str:
        if not all(url.strip().startswith(("nats://", "tls://")) for url in urls.split(",")):
            raise ValueError("each address must begin with nats:// or tls://, for example nats://127.0.0.1:4222")
        return urls

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_collector(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("it must begin with http:// or https://, for example http://127.0.0.1:4318; leave it empty for no traces")
        return url

    @model_validator(mode="after")
    def _metrics_are_guarded(self) -> Self:
        shown = [name for name, value in self if name.endswith("_metrics_address") and value]
        if shown and (self.metrics_token is None or len(self.metrics_token.get_secret_value()) < MIN_TOKEN_LENGTH):
            raise ValueError(
                f"INKWRIGHT_{shown[0].upper()} is set: metrics are shown to nobody without a token. "
                f"Set INKWRIGHT_METRICS_TOKEN to at least {MIN_TOKEN_LENGTH} characters, or leave the address empty."
            )
        return self

    @property
    def metrics_address(self) -> str:
        """Where this service's own process shows its metrics; empty for nowhere."""
        address: str = getattr(self, f"{self.service}_metrics_address")
        return address

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
            CannotStart: one cannot be used.
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
    # A token alone before the @ (nats://token@host) is as secret as a password; a setting may list several addresses.
    return re.sub(r"://[^@/\s,]*@", "://***@", str(value))
