"""Settings of the inference service."""

import math
import os
import socket
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from libs.ocrkit.engines.engine import EngineName
from libs.runtime.settings import ServiceSettings
from services.inference.quota import Capacity

_CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_MEMORY = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MB = 1024 * 1024


class InferenceSettings(ServiceSettings):
    """What the inference service may be told beside the common settings."""

    service: ClassVar[str] = "inference"

    inference_memory_mb: int = Field(default=0, ge=0)
    """Memory the instances of this process together may be promised, in MiB; 0 means what the host has."""
    inference_engine: EngineName = "auto"
    """Engine of every instance; ``auto`` takes OpenVINO."""
    inference_instance_host: str = "127.0.0.1"
    """Where every instance listens, on a free port, and where callers then find it: a name or address of this host that they can reach."""
    inference_queue_size: int = Field(default=64, ge=1)
    """Requests one instance holds before it answers QUEUE_FULL."""
    inference_max_image_bytes: int = Field(default=20 * _MB, ge=1)
    inference_max_image_pixels: int = Field(default=64_000_000, ge=1)
    inference_drain_seconds: float = Field(default=10.0, gt=0)
    """How long an instance that is taken away may finish what it has."""
    inference_restart_seconds: float = Field(default=0.5, gt=0)
    """Delay before a dead instance is started again; doubles with each quick death."""
    inference_cache_bundles: int = Field(default=16, ge=1)
    """Bundles kept on disk beyond those in use."""
    inference_suggestion_model: str = "projects/default/models/ppocrv6-small"
    """What reads when labelling asks for no model."""
    inference_suggestion_idle_seconds: float = Field(default=120.0, gt=0)
    """A suggestion instance nobody asked for in that time is stopped."""

    @property
    def bundle_folder(self) -> Path:
        """Where fetched bundles are kept."""
        return self.home / "inference" / "bundles"

    @property
    def host_name(self) -> str:
        """What tells this process from other replicas: the machine, or the pod, and where it listens."""
        return f"{socket.gethostname()}/{self.address}"

    def capacity(self) -> Capacity:
        """What instances may share here."""
        return Capacity(cores=host_cores(), memory_mb=self.inference_memory_mb or host_memory_mb())


def host_cores(limit: Path = _CGROUP_CPU) -> int:
    """Cores of this machine, or as many as the time amounts to that its container gets; a part of a core counts as one.

    Args:
        limit: what the kernel says of the container: two numbers of microseconds, or ``max`` and one.
    """
    cores = len(os.sched_getaffinity(0))
    time_us, _, period_us = limit.read_text().partition(" ") if limit.exists() else ("max", "", "")
    return cores if time_us == "max" else min(cores, math.ceil(int(time_us) / int(period_us)))


def host_memory_mb() -> int:
    """Memory of this machine, or of the container it is, in MiB."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits = [path.read_text().strip() for path in _CGROUP_MEMORY if path.exists()]
    sizes += [int(limit) for limit in limits if limit.isdigit()]
    return min(sizes) // _MB
