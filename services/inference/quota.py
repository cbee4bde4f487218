"""What an instance may use, what the hosts have, and whether the two go together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from libs.runtime.errors import InvalidInput

MAX_INSTANCES = 64
"""Of one deployment, and of all of them together on one host."""


class QuotaExceeded(InvalidInput):
    """More than the hosts have, or than the other deployments leave of it."""

    reason = "QUOTA_EXCEEDED"


class ResourceTypeUnknown(InvalidInput):
    """A resource type outside the catalogue."""

    reason = "RESOURCE_TYPE_UNKNOWN"


@dataclass(frozen=True)
class Quota:
    """What one instance may use.

    Args:
        cores: its number of threads, rounded down but never below one; may be a fraction.
        memory_mb: MiB that are counted as its own. A child process is not cut off above them: what it needs grows with the page,
            and an instance killed in the middle of one is worse than a host that swaps.
        gpus: always 0 until a resource type has one.
    """

    cores: float
    memory_mb: int
    gpus: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cores) and self.cores >= 0 and self.memory_mb >= 0 and self.gpus >= 0):
            raise InvalidInput("A quota must not be negative; leave a field out for what the resource type has.")

    @property
    def num_threads(self) -> int:
        """Threads the engine may run."""
        return max(1, int(self.cores))


@dataclass(frozen=True)
class ResourceType:
    """One entry of the catalogue."""

    type_id: str
    quota: Quota

    def filled(self, wanted: Quota) -> Quota:
        """``wanted`` with this type's value in place of each 0."""
        return Quota(wanted.cores or self.quota.cores, wanted.memory_mb or self.quota.memory_mb, wanted.gpus or self.quota.gpus)


CATALOGUE: tuple[ResourceType, ...] = tuple(ResourceType(f"cpu-{cores}", Quota(cores, cores * 1024)) for cores in (1, 2, 4, 8, 16))
DEFAULT_RESOURCE_TYPE = "cpu-1"


def resource_type(type_id: str) -> ResourceType:
    """The entry of that id; ``""`` means ``cpu-1``.

    Raises:
        ResourceTypeUnknown: the catalogue has none.
    """
    wanted = type_id or DEFAULT_RESOURCE_TYPE
    for entry in CATALOGUE:
        if entry.type_id == wanted:
            return entry
    offered = ", ".join(entry.type_id for entry in CATALOGUE)
    message = f"There is no resource type {wanted[:60]!r}; choose one of {offered}."
    raise ResourceTypeUnknown(message, resource_type=wanted[:60], offered=offered)


@dataclass(frozen=True)
class Demand:
    """What one deployment wants in all."""

    quota: Quota
    num_instances: int

    @property
    def memory_mb(self) -> int:
        """Over all its instances."""
        return self.quota.memory_mb * self.num_instances


@dataclass(frozen=True)
class Capacity:
    """What instances share, on one host or on several.

    Memory is counted as promised, not as used: what runs today must be able to grow to its quota tomorrow. Cores may be promised
    twice, since an instance that waits for requests uses none; only one instance must not want more than there are.
    """

    cores: int
    memory_mb: int
    num_hosts: int = 1

    @staticmethod
    def together(hosts: "Sequence[Capacity]") -> "Capacity":
        """Of several hosts; an instance lies on one of them, so its cores are those of the largest."""
        cores = max((host.cores for host in hosts), default=0)
        return Capacity(cores, sum(host.memory_mb for host in hosts), len(hosts))

    def check(self, wanted: Demand, others: Sequence[Demand]) -> None:
        """Make sure that ``wanted`` fits beside the others.

        Raises:
            QuotaExceeded: it does not; the message has what was asked for and what there is.
        """
        quota = wanted.quota
        self._refuse_if(quota.cores > self.cores, "cores for each instance", f"{quota.cores:g}", self.cores)
        self._refuse_if(quota.gpus > 0, "GPUs for each instance", quota.gpus, 0)
        free_mb = self.memory_mb - sum(other.memory_mb for other in others)
        self._refuse_if(wanted.memory_mb > free_mb, "MB of memory in all", wanted.memory_mb, max(0, free_mb))
        free_instances = MAX_INSTANCES * self.num_hosts - sum(other.num_instances for other in others)
        self._refuse_if(wanted.num_instances > free_instances, "instances", wanted.num_instances, max(0, free_instances))

    def num_available(self, quota: Quota, others: Sequence[Demand]) -> int:
        """How many more instances of this quota would fit, if memory may lie on any of the hosts."""
        if quota.cores > self.cores or quota.gpus > 0:
            return 0
        free_mb = self.memory_mb - sum(other.memory_mb for other in others)
        free_instances = MAX_INSTANCES * self.num_hosts - sum(other.num_instances for other in others)
        return max(0, min(free_instances, free_mb // max(1, quota.memory_mb)))

    def _refuse_if(self, refused: bool, what: str, asked: object, free: object) -> None:
        if refused:
            raise QuotaExceeded(
                f"The deployment asks for {asked} {what}, but {free} are free; ask for less, or stop or scale down another.",
                what=what,
                asked=asked,
                free=free,
            )
