"""Settings of the dataset service."""

from typing import ClassVar

from libs.runtime.settings import ServiceSettings


class DatasetSettings(ServiceSettings):
    """What every process may be told; nothing more yet."""

    service: ClassVar[str] = "dataset"
