"""Instances as their host sees them, and when a dead one is started again."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.inference.domain import Trouble

QUICK_DEATH_SECONDS: Final = 10.0
"""An instance that was ready for less has not proven that it can live."""
MAX_QUICK_DEATHS: Final = 5
"""So many in a row are no accident."""
MAX_DELAY_SECONDS: Final = 30.0


class InstanceState(StrEnum):
    """See ``Instance.State`` in the proto."""

    STARTING = "STARTING"
    READY = "READY"
    DRAINING = "DRAINING"
    DOWN = "DOWN"


@dataclass(frozen=True)
class InstanceView:
    """What is known of one instance now; see the proto."""

    instance_id: str
    state: InstanceState
    bundle_digest: str
    start_time: datetime
    endpoint: str = ""
    engine: str = ""
    num_in_flight: int = 0
    last_error: str = ""
    metrics_endpoint: str = ""


@dataclass(frozen=True)
class Report:
    """What a host says of an instance that it keeps alive.

    Args:
        view: its process, or the last one, which died; ``None`` while none was started.
        warm_up_error: what its model said when it was warmed up; empty when all went well or it is not that far.
        trouble: why no process lives.
    """

    view: InstanceView | None = None
    warm_up_error: str = ""
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Restarts:
    """When an instance that died is started again.

    Args:
        first_delay_seconds: after the first death; doubles with each quick one up to 30 s, for ever.
        num_quick_deaths: in a row.
        not_before: moment of a clock that only grows.
    """

    first_delay_seconds: float
    num_quick_deaths: int = 0
    not_before: float = 0.0

    def died(self, *, ready_seconds: float, now: float) -> "Restarts":
        """After a death that nobody asked for."""
        num_quick = self.num_quick_deaths + 1 if ready_seconds < QUICK_DEATH_SECONDS else 0
        delay = min(self.first_delay_seconds * 2.0 ** max(0, num_quick - 1), max(MAX_DELAY_SECONDS, self.first_delay_seconds))
        return replace(self, num_quick_deaths=num_quick, not_before=now + delay)

    @property
    def is_crash_loop(self) -> bool:
        """Whether starting it again alone is unlikely to help."""
        return self.num_quick_deaths >= MAX_QUICK_DEATHS
