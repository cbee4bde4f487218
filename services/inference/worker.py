"""The reconciler: drives what is there towards what is wanted, after every event and every second."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from libs.runtime.logs import get_logger
from services.inference.bundles import BundleCache
from services.inference.domain import Deployment, State
from services.inference.events import tell_change
from services.inference.fleet import Fleet, Launch
from services.inference.instances import InstanceView
from services.inference.routes import Routes
from services.inference.store import InferenceWork, Work

log = get_logger()

TICK_SECONDS = 1.0
DELETE_PATIENCE_SECONDS = 30.0
"""A deployment that is still there so long after its deletion says why."""


class Reconciler:
    """One task looks at all deployments in turn and never waits for a process, a download or the bus: those go on beside.

    After a restart of this service the processes of the one before are gone (they die with their parent), so all that is
    wanted is started again; the state of each deployment says so meanwhile.

    Args:
        work: units of work.
        launch: makes the process object of an instance.
        bundles: gives files; wakes this reconciler.
        routes: what the gateway knows.
        restart_seconds: first delay after an instance's death.
        suggestion_idle_seconds: after which a suggestion deployment is stopped.
    """

    name = "reconciler"

    def __init__(
        self,
        work: Work,
        launch: Launch,
        bundles: BundleCache,
        routes: Routes,
        *,
        restart_seconds: float,
        suggestion_idle_seconds: float,
    ) -> None:
        self._work = work
        self._launch = launch
        self._bundles = bundles
        self._routes = routes
        self._restart_seconds = restart_seconds
        self._suggestion_idle_seconds = suggestion_idle_seconds
        self._fleets: dict[str, Fleet] = {}
        self._failed: set[str] = set()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something changed: look soon."""
        self._woken.set()
        self._routes.wake()

    def views(self, name: str) -> list[InstanceView]:
        """The instances of a deployment."""
        fleet = self._fleets.get(name)
        return fleet.views() if fleet else []

    def ready_endpoint(self, name: str, bundle_digest: str) -> str | None:
        """``host:port`` of an instance that can answer, or ``None``."""
        fleet = self._fleets.get(name)
        return fleet.ready_endpoint(bundle_digest) if fleet else None

    async def run(self, stopping: asyncio.Event) -> None:
        """Reconcile until ``stopping`` is set, then drain every instance; the caller bounds that with a grace."""
        async with asyncio.TaskGroup() as tasks:
            while not stopping.is_set():
                self._woken.clear()
                await self._look(tasks)
                await self._pause(stopping)
            for fleet in self._fleets.values():
                for process in fleet.processes():
                    tasks.create_task(process.drain(), name=f"drain-{process.orders.instance_id}")

    async def stop_children(self, grace_seconds: float) -> None:
        """End every process that is still there."""
        await asyncio.gather(*(process.end(grace_seconds) for fleet in self._fleets.values() for process in fleet.processes()))

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        async with self._work(read_only=True) as w:
            deployments = await w.deployments.all()
            now = w.now
        for deployment in deployments:
            await self._drive(deployment, now, tasks)
        self._bundles.trim({deployment.bundle_digest for deployment in deployments})

    async def _drive(self, deployment: Deployment, now: datetime, tasks: asyncio.TaskGroup) -> None:
        if deployment.is_idle(at=now, idle_seconds=self._suggestion_idle_seconds):
            deployment = await self._change(deployment, self._stop_if_idle)
        fleet = self._fleets.get(deployment.name)
        if fleet is None:
            fleet = self._fleets[deployment.name] = Fleet(self._launch, first_delay_seconds=self._restart_seconds)
        if deployment.name in self._failed and deployment.state is not State.FAILED:
            # Stopped or started by a person since: the past does not count.
            self._failed.discard(deployment.name)
            self._bundles.forgive(deployment.bundle_digest)
            fleet.forgive()
        fleet.steer(deployment, tasks)
        if fleet.needs_bundle:
            bundle = self._bundles.path(deployment.bundle_digest, tasks)
            if bundle is not None:
                fleet.fill(deployment, bundle, tasks)
        if deployment.is_deleting:
            await self._finish_deletion(deployment, fleet, now)
            return
        observed = fleet.observe(deployment, self._bundles.trouble(deployment.bundle_digest))
        if deployment.observe(observed, at=now) is not deployment:
            deployment = await self._change(deployment, lambda current, at: current.observe(observed, at=at))
        if deployment.state is State.FAILED:
            self._failed.add(deployment.name)

    def _stop_if_idle(self, deployment: Deployment, at: datetime) -> Deployment:
        idle = deployment.is_idle(at=at, idle_seconds=self._suggestion_idle_seconds)
        return deployment.stop(at=at, idle=True) if idle else deployment

    async def _finish_deletion(self, deployment: Deployment, fleet: Fleet, now: datetime) -> None:
        # The route goes first: a token must not outlive the deployment that can be seen.
        if fleet.is_empty and self._routes.is_gone(deployment.deployment_id):
            async with self._work() as w:
                await w.deployments.remove(deployment.name)
                tell_change(w, deployment, deleted=True)
                await w.commit()
            del self._fleets[deployment.name]
            self._failed.discard(deployment.name)
            log.info("deployment_deleted", deployment=deployment.name)
        elif deployment.state is State.DELETING and (now - deployment.update_time).total_seconds() > DELETE_PATIENCE_SECONDS:
            what = "its address cannot be withdrawn: the bus does not answer" if fleet.is_empty else "its instances do not end"
            problem = f"It cannot be deleted yet: {what}. It is tried on and on."
            await self._change(deployment, lambda current, at: current.clean_up_failed(problem, at=at))

    async def _change(self, deployment: Deployment, change: Callable[[Deployment, datetime], Deployment]) -> Deployment:
        """Apply ``change`` to the deployment as it is in the database now."""
        async with self._work() as w:
            current = await w.deployments.find(deployment.name)
            if current is None or (current.revision, current.state) != (deployment.revision, deployment.state):
                # Somebody was faster: look again with the next turn.
                self.wake()
                return current or deployment
            changed = change(current, w.now)
            if changed is not current:
                await self._save(w, changed)
        return changed

    async def _save(self, w: InferenceWork, changed: Deployment) -> None:
        await w.deployments.put(changed)
        tell_change(w, changed)
        await w.commit()
        log.info("deployment_changed", deployment=changed.name, state=changed.state, reason=changed.reason, message=changed.message)

    async def _pause(self, stopping: asyncio.Event) -> None:
        waits = [asyncio.create_task(self._woken.wait()), asyncio.create_task(stopping.wait())]
        try:
            await asyncio.wait(waits, timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
