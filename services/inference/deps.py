"""What the rooms of inference share."""

from dataclasses import dataclass
from typing import Protocol

from libs.runtime.secrets import InstallationKey
from services.inference.instances import InstanceView
from services.inference.quota import Host
from services.inference.settings import InferenceSettings
from services.inference.store import Work


class Fleets(Protocol):
    """The instances of all deployments, as far as callers ask for them."""

    def wake(self) -> None:
        """Something was committed: look at the deployments soon."""
        ...

    def views(self, name: str) -> list[InstanceView]:
        """The instances of one deployment."""
        ...

    def ready_endpoint(self, name: str, bundle_digest: str) -> str | None:
        """``host:port`` of an instance that can answer, or ``None``."""
        ...


@dataclass(frozen=True)
class Deps:
    """Built once in ``main``."""

    work: Work
    settings: InferenceSettings
    key: InstallationKey
    host: Host
    fleets: Fleets
