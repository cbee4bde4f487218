"""Settings of the supervisor: those of every service, and the token of the first user."""

from typing import ClassVar

from pydantic import SecretStr

from libs.runtime.logs import LogFormat
from libs.runtime.settings import ServiceSettings

SERVICES = ("dataset", "labeling", "trainer", "inference")


class EmbeddedSettings(ServiceSettings):
    """What ``python -m deploy.embedded`` may be told."""

    service: ClassVar[str] = "supervisor"

    token: SecretStr | None = None
    """``INKWRIGHT_TOKEN``; without it one is made once and kept in ``<home>/admin.token``."""
    log_format: LogFormat = "console"
    """Of the supervisor itself; the processes it starts write JSON into their files."""
