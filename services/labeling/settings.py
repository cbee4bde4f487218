"""Settings of the labeling service."""

from typing import ClassVar

from pydantic import Field

from libs.runtime.settings import ServiceSettings


class LabelingSettings(ServiceSettings):
    """What every process may be told, and how patient suggestions are."""

    service: ClassVar[str] = "labeling"

    suggestion_wait_seconds: float = Field(default=180.0, gt=0)
    """How long a run waits for an instance of its model before it fails."""
    suggestion_renew_seconds: float = Field(default=20.0, gt=0)
    """How often a run asks again for the instance it uses, so that it is not stopped as idle."""
