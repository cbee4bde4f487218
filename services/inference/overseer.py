"""The overseer: assigns instances to hosts, judges deployments by what the hosts say, and finishes deletions."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from libs.runtime.errors import Conflict, NoReadyInstance
from libs.runtime.logs import get_logger
from libs.runtime.names import new_id
from libs.runtime.waiting import first_of
from services.inference.domain import Deployment, State
from services.inference.events import tell_change
from services.inference.placement import Assignment, HostView, Plan, SignsOfLife, observe, plan
from services.inference.routes import Routes
from services.inference.store import InferenceWork, Work

log = get_logger()

TICK_SECONDS = 0.5
DELETE_PATIENCE_SECONDS = 30.0
"""A deployment that is still there so long after its deletion says why."""


@dataclass(frozen=True)
class Decision:
    """What one look at a deployment comes to."""

    plan: Plan
    deployment: Deployment

    def changes(self, before: Deployment) -> bool:
        """Whether there is anything to write down."""
        return bool(self.plan.new or self.plan.leave) or self.deployment is not before


class Overseer:
    """One of all replicas does this. It knows only what the database says: another goes on where it was.

    Args:
        work: units of work.
        routes: what the gateway knows.
        wake: called after each change: hosts have something to do.
        host: name of this process's own host, which lives as long as this does.
        suggestion_idle_seconds: after which a suggestion deployment is stopped.
    """

    name = "overseer"

    def __init__(self, work: Work, routes: Routes, wake: Callable[[], None], *, host: str, suggestion_idle_seconds: float) -> None:
        self._work = work
        self._routes = routes
        self._tell = wake
        self._host = host
        self._suggestion_idle_seconds = suggestion_idle_seconds
        self._life = SignsOfLife(time.monotonic)
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something changed: look soon."""
        self._woken.set()
        self._routes.wake()

    async def run(self, stopping: asyncio.Event) -> None:
        """Look until ``stopping`` is set."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._routes.run(stopping), name=self._routes.name)
            while not stopping.is_set():
                self._woken.clear()
                try:
                    await self._look()
                except (NoReadyInstance, Conflict) as fault:
                    log.warning("overseer_waits", error=fault.message)
                await first_of(self._woken, stopping, timeout_seconds=TICK_SECONDS)

    async def _look(self) -> None:
        async with self._work(read_only=True) as w:
            deployments, assignments, hosts, now = await w.deployments.all(), await w.assignments.all(), await w.hosts.all(), w.now
        for name in self._life.silent([host for host in hosts if host.name != self._host]):
            await self._give_up(name)
        for deployment in deployments:
            if self._decide(deployment, assignments, hosts, now).changes(deployment):
                await self._act(deployment.name)
            if deployment.is_deleting:
                has_instances = any(each.deployment == deployment.name for each in assignments)
                await self._finish_deletion(deployment, now, has_instances=has_instances)

    def _decide(self, before: Deployment, assignments: list[Assignment], hosts: list[HostView], now: datetime) -> Decision:
        deployment = before
        if deployment.is_idle(at=now, idle_seconds=self._suggestion_idle_seconds):
            deployment = deployment.stop(at=now, idle=True)
        planned = plan(deployment, assignments, hosts)
        seen = observe(deployment, assignments, has_no_room=planned.has_no_room)
        return Decision(planned, deployment.observe(seen, at=now))

    async def _act(self, name: str) -> None:
        """Decide again within the transaction that writes it down."""
        async with self._work() as w:
            before = await w.deployments.find(name, lock=True)
            if before is None:
                return
            decision = self._decide(before, await w.assignments.all(), await w.hosts.all(), w.now)
            after = decision.deployment
            for host in decision.plan.new:
                await w.assignments.add(Assignment(new_id("as"), name, host, after.bundle_digest, after.quota, w.now))
            for assignment_id in decision.plan.leave:
                await w.assignments.leave(assignment_id)
            if after is not before:
                await self._save(w, after)
            await w.commit()
        self._tell()

    async def _give_up(self, host: str) -> None:
        async with self._work() as w:
            await w.hosts.remove(host)
            await w.commit()
        log.warning("host_lost", host=host)
        self._tell()

    async def _finish_deletion(self, deployment: Deployment, now: datetime, *, has_instances: bool) -> None:
        # The route goes first: a token must not outlive the deployment that can be seen.
        if not has_instances and self._routes.is_gone(deployment.deployment_id):
            async with self._work() as w:
                await w.deployments.remove(deployment.name)
                tell_change(w, deployment, deleted=True)
                await w.commit()
            log.info("deployment_deleted", deployment=deployment.name)
        elif deployment.state is State.DELETING and (now - deployment.update_time).total_seconds() > DELETE_PATIENCE_SECONDS:
            what = "its instances do not end" if has_instances else "its address cannot be withdrawn: the bus does not answer"
            async with self._work() as w:
                current = await w.deployments.find(deployment.name, lock=True)
                if current is not None:
                    await self._save(w, current.clean_up_failed(f"It cannot be deleted yet: {what}. It is tried on and on.", at=w.now))
                    await w.commit()

    async def _save(self, w: InferenceWork, changed: Deployment) -> None:
        await w.deployments.put(changed)
        tell_change(w, changed)
        log.info("deployment_changed", deployment=changed.name, state=changed.state, reason=changed.reason, message=changed.message)
