"""What an instance is told at its start, and what it tells back."""

from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from libs.ocrkit.engines.engine import EngineName
from libs.runtime.access_token import AccessKey
from libs.runtime.logs import LogFormat, LogLevel
from libs.runtime.tls import Tls
from libs.runtime.trust import Trust

INSTANCES_BUCKET: Final = "instances"
"""Key-value bucket of the instances that are ready."""
REGISTRATION_TTL_SECONDS: Final = 8.0


class Orders(BaseModel):
    """The first line on an instance's stdin.

    Args:
        deployment: resource name.
        bundle_path: a file that stays while the instance lives.
        bundle_digest: what the bundle must have.
        num_threads: cores the engine may use.
        access_key: what it checks callers with, in hexadecimal digits.
        tls: files of certificate, key and authority; ``None`` for plain connections.
        host: where its gRPC server listens and is found.
        queue_size: requests it holds, the one in work included.
        drain_seconds: how long it may finish what it has once it is told to end.
        metrics_address: where it shows its metrics, to who has the token; empty for nowhere.
        otlp_endpoint: where it sends its spans; empty for nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    deployment: str
    instance_id: str
    bundle_path: Path
    bundle_digest: str
    engine: EngineName
    num_threads: int = Field(ge=1)
    nats_url: str = Field(repr=False)
    access_key: str = Field(repr=False)
    tls: tuple[Path, Path, Path] | None = None
    host: str
    queue_size: int = Field(ge=1)
    max_image_bytes: int = Field(ge=1)
    max_image_pixels: int = Field(ge=1)
    drain_seconds: float = Field(gt=0)
    metrics_address: str = ""
    metrics_token: str = Field(default="", repr=False)
    otlp_endpoint: str = ""
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"

    @property
    def trust(self) -> Trust:
        """As a server of calls."""
        return Trust(AccessKey(bytes.fromhex(self.access_key)), Tls.read(*self.tls) if self.tls else None)


class Told(BaseModel):
    """A line on an instance's stdout: written once it is ready, and again when its load has changed.

    Args:
        endpoint: ``host:port`` of its gRPC server.
        engine: what runs the model, for people.
        warm_up_error: what the model said when it was warmed up; empty when all went well.
        num_in_flight: requests in work or waiting.
        metrics_endpoint: ``host:port`` of its metrics; empty where it shows none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str
    engine: str
    warm_up_error: str = ""
    num_in_flight: int = 0
    metrics_endpoint: str = ""


def told_from_event(event: dict[str, Any]) -> Told:
    """Read a line of an instance's stdout.

    Raises:
        ValueError: some other line.
    """
    return Told.model_validate(event)
