"""Settings of the trainer."""

import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from libs.runtime.settings import ServiceSettings


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class TrainerSettings(ServiceSettings):
    """What the trainer may be told, as ``INKWRIGHT_TRAINER_…``."""

    service: ClassVar[str] = "trainer"

    trainer_workers: int = Field(default=1, ge=0, le=64)
    """Nodes that run at the same time in this process; 0 for a process that only answers calls."""
    trainer_threads: int = Field(default_factory=_num_cores, ge=1)
    """Cores a node may use."""
    trainer_lease_seconds: float = Field(default=15.0, ge=1.0)
    """A node whose worker is silent for so long is run again by another."""
    trainer_max_training_seconds: float = Field(default=1100.0, gt=0)
    """Longest time of a recognizer's training, of which features are always computed; a detector's takes at most a third as long."""
    trainer_default_base: str = "ppocrv6-small"
    """Id of the base that is chosen unless another reads the labels clearly better."""

    @property
    def task_folder(self) -> Path:
        """Work folders of running tasks."""
        return self.home / "trainer" / "tasks"

    @property
    def restored_mark(self) -> Path:
        """A file that says: databases were restored from a backup, work folders were not."""
        return self.home / "trainer" / "restored"

    @property
    def artifact_folder(self) -> Path:
        """Bundles by digest."""
        return self.home / "trainer" / "artifacts"

    @property
    def upload_folder(self) -> Path:
        """Bundles that are being brought."""
        return self.home / "trainer" / "uploads"
