"""Which host runs which instance: pure functions of what is wanted and what is there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.inference.domain import Deployment, Observed, Reason, Trouble
from services.inference.instances import InstanceState, Report
from services.inference.quota import MAX_INSTANCES, Capacity, Quota

SILENT_SECONDS: Final = 10.0
"""A host that has shown no sign of life for so long is given up; its instances are started elsewhere."""


@dataclass(frozen=True)
class HostView:
    """A process of this service, which runs instances.

    Args:
        name: of the machine and the port; the same after a restart.
        capacity: what its instances may share.
        is_leaving: it is being stopped, and waits for others to take over what it runs.
        beat: goes up while it lives.
    """

    name: str
    capacity: Capacity
    is_leaving: bool = False
    beat: int = 0


@dataclass(frozen=True)
class Assignment:
    """An instance that a host keeps alive, whatever number of processes that takes.

    Args:
        is_leaving: the host is to end it, and forget it then.
        report: what the host said of it last.
    """

    assignment_id: str
    deployment: str
    host: str
    bundle_digest: str
    quota: Quota
    create_time: datetime
    is_leaving: bool = False
    report: Report = field(default_factory=Report)

    @property
    def is_ready(self) -> bool:
        """Whether its process answers."""
        return self.report.view is not None and self.report.view.state is InstanceState.READY


@dataclass(frozen=True)
class Plan:
    """What to do next for one deployment.

    Args:
        new: where one more instance is to be, by host.
        leave: ids of assignments to be ended.
        has_no_room: whether an instance is missing that no host can take.
    """

    new: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    has_no_room: bool = False


def plan(deployment: Deployment, assignments: Sequence[Assignment], hosts: Sequence[HostView]) -> Plan:
    """Bring the assignments of a deployment nearer to what is wanted.

    An instance of another bundle, or on a host that is leaving, stays until one that takes its place is ready; where no host has room
    for both, one of another bundle goes first.

    Args:
        deployment: the one in question.
        assignments: of all deployments; each to one of the hosts.
        hosts: all there are.
    """
    staying = {host.name for host in hosts if not host.is_leaving}
    mine = [assignment for assignment in assignments if assignment.deployment == deployment.name and not assignment.is_leaving]
    good = [each for each in mine if each.bundle_digest == deployment.bundle_digest and each.host in staying]
    old = [each for each in mine if each not in good]
    wanted = deployment.wanted_instances
    kept, leave = _split(good, wanted)
    kept_old, leave_old = _split(old, max(0, wanted - sum(each.is_ready for each in kept)))
    num_stranded = sum(each.host not in staying for each in kept_old)
    num_new = min(wanted - len(kept), wanted + max(1, num_stranded) - len(kept) - len(kept_old))
    new: list[str] = []
    for _ in range(num_new):
        host = _roomiest(deployment, assignments, [host for host in hosts if host.name in staying], new)
        if host is None:
            break
        new.append(host)
    has_no_room = len(new) < num_new
    outdated = [each for each in kept_old if each.host in staying]
    if has_no_room and not new and outdated and all(each.is_ready for each in kept):
        leave_old.append(outdated[-1])
        has_no_room = False
    return Plan(tuple(new), tuple(each.assignment_id for each in (*leave, *leave_old)), has_no_room)


def observe(deployment: Deployment, assignments: Sequence[Assignment], *, has_no_room: bool) -> Observed:
    """What the deployment is to be judged by.

    Args:
        deployment: the one in question.
        assignments: of all deployments.
        has_no_room: see ``Plan``.
    """
    mine = [assignment for assignment in assignments if assignment.deployment == deployment.name]
    right = [each for each in mine if not each.is_leaving and each.bundle_digest == deployment.bundle_digest]
    ready = [each for each in right if each.is_ready]
    troubles = [each.report.trouble for each in right if each.report.trouble]
    if has_no_room:
        quota = deployment.quota
        message = f"No host has room for one more instance of {quota.cores:g} cores and {quota.memory_mb} MB; stop or scale down another."
        troubles.append(Trouble(Reason.NO_ROOM, message, lasting=False))
    return Observed(
        num_ready=len(ready),
        num_others=len(mine) - len(ready),
        warm_up_error=next((each.report.warm_up_error for each in ready if each.report.warm_up_error), ""),
        trouble=troubles[0] if troubles else None,
    )


class SignsOfLife:
    """Which hosts have gone silent, by this process's own clock: those of two machines may differ, and may be set.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_look = 0.0
        self._seen: dict[str, tuple[int, float]] = {}

    def silent(self, hosts: Sequence[HostView]) -> list[str]:
        """Names of the hosts whose beat has not changed for ``SILENT_SECONDS``."""
        now = self._clock()
        if now - self._last_look > SILENT_SECONDS / 2:
            # Not they were silent but this process was away, or the database.
            self._seen = {}
        self._last_look = now
        seen = {host.name: self._seen.get(host.name, (host.beat, now)) for host in hosts}
        self._seen = {host.name: seen[host.name] if seen[host.name][0] == host.beat else (host.beat, now) for host in hosts}
        return [name for name, (_, since) in self._seen.items() if now - since > SILENT_SECONDS]


def _split(assignments: Sequence[Assignment], num_kept: int) -> tuple[list[Assignment], list[Assignment]]:
    """Those to keep, and the others: what answers is kept first, then what is older."""
    best = sorted(assignments, key=lambda each: (not each.is_ready, each.create_time, each.assignment_id))
    return best[:num_kept], best[num_kept:]


def _roomiest(deployment: Deployment, assignments: Sequence[Assignment], hosts: Sequence[HostView], new: Sequence[str]) -> str | None:
    """The host with the fewest instances of the deployment, and of those the most free memory; ``None`` where none has room."""
    offers: list[tuple[int, int, str]] = []
    for host in hosts:
        there, coming = [each for each in assignments if each.host == host.name], new.count(host.name)
        free_mb = host.capacity.memory_mb - sum(each.quota.memory_mb for each in there) - coming * deployment.quota.memory_mb
        fits = deployment.quota.cores <= host.capacity.cores and deployment.quota.memory_mb <= free_mb
        if fits and len(there) + coming < MAX_INSTANCES:
            num_of_it = sum(each.deployment == deployment.name for each in there) + coming
            offers.append((num_of_it, -free_mb, host.name))
    return min(offers)[2] if offers else None
