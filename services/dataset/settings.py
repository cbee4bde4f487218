"""Settings of the dataset service."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from libs.runtime.settings import ServiceSettings


class DatasetSettings(ServiceSettings):
    """What every process may be told, and what this one alone may know."""

    service: ClassVar[str] = "dataset"

    oss_connections: Path | None = None
    """TOML file with the connections to OSS, one table each; see ``oss_connection.OssConnection``. Closed to other accounts."""
    picture_cache_bytes: int = Field(default=1024**3, ge=1)
    """Of thumbnails and tiles kept on disk, all datasets together."""
    upload_folder: Path | None = None
    """Where the bytes of uploads wait; all replicas share it. Not given: `uploads` in the home."""
    upload_max_bytes: int = Field(default=20 * 1024**3, ge=1)
    """Of one uploaded file."""
    upload_max_unpacked_bytes: int = Field(default=100 * 1024**3, ge=1)
    """Of all files in one uploaded ZIP together."""
    trash_days: int = Field(default=30, ge=0, le=36_500)
    """How long a deleted dataset can be restored; 0: not at all."""
