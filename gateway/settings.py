"""Settings of the gateway."""

from typing import ClassVar

from pydantic import Field, SecretStr

from libs.runtime.settings import ServiceSettings

MIB = 1024 * 1024


class GatewaySettings(ServiceSettings):
    """What the gateway may be told beside the common settings."""

    service: ClassVar[str] = "gateway"

    token: SecretStr | None = None
    """The installation's own token; without it the one in ``<home>/admin.token``, which is made at the first start."""
    secure_cookies: bool = False
    """Whether browsers may send a session over HTTPS only; for a gateway behind TLS."""
    audit_days: float = Field(default=400.0, gt=0)
    """How long lines of the audit log are kept."""
    management_timeout_seconds: float = Field(default=30.0, gt=0)
    """How long a service may take to answer one management request."""
    management_max_body_bytes: int = Field(default=8 * MIB, ge=1)
    bundle_max_bytes: int = Field(default=4096 * MIB, ge=1)
    """Of an uploaded bundle file."""
    max_event_streams: int = Field(default=256, ge=1)

    predict_max_body_bytes: int = Field(default=64 * MIB, ge=1)
    predict_max_image_bytes: int = Field(default=20 * MIB, ge=1)
    """Of one decoded element; instances have the same limit."""
    predict_max_image_pixels: int = Field(default=64_000_000, ge=1)
    predict_max_items: int = Field(default=32, ge=1)
    """Elements of one request's ``dataArray``."""
    predict_concurrency: int = Field(default=4, ge=1)
    """Elements of one request that are in work at once."""
    predict_timeout_seconds: float = Field(default=60.0, gt=0)
    connect_timeout_seconds: float = Field(default=2.0, gt=0)
    """How long an instance may take to accept a connection before it is set aside."""
