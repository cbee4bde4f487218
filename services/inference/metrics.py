"""Deployments and their instances in numbers, and where the instances show their own."""

from typing import Protocol

import orjson
from prometheus_client import Gauge

from libs.runtime.metrics_door import Page, Probe
from services.inference.domain import Deployment
from services.inference.instances import InstanceState, InstanceView
from services.inference.store import Work

WANTED = Gauge("inkwright_deployment_wanted_instances", "Instances that a deployment should have.", ["deployment"])
INSTANCES = Gauge("inkwright_deployment_instances", "Instances that it has, by state.", ["deployment", "state"])
LOAD = Gauge("inkwright_deployment_in_flight", "Images in work or waiting at its instances, as they told last.", ["deployment"])


class Views(Protocol):
    """The reconciler, as far as this module asks it."""

    def views(self, name: str) -> list[InstanceView]:
        """The instances of one deployment."""
        ...


def deployment_probe(work: Work, fleets: Views) -> Probe:
    """Brings the gauges up to date; a deployment that is gone leaves them."""

    async def look() -> None:
        deployments = await _deployments(work)
        for gauge in (WANTED, INSTANCES, LOAD):
            gauge.clear()
        for deployment in deployments:
            views = fleets.views(deployment.name)
            WANTED.labels(deployment.deployment_id).set(deployment.wanted_instances)
            LOAD.labels(deployment.deployment_id).set(sum(view.num_in_flight for view in views))
            for state in InstanceState:
                INSTANCES.labels(deployment.deployment_id, state).set(sum(view.state is state for view in views))

    return look


def scrape_targets(work: Work, fleets: Views) -> Page:
    """What Prometheus's ``http_sd_configs`` reads: the ports that the instances took for their metrics."""

    async def page() -> tuple[str, bytes]:
        targets = [
            {
                "targets": [view.metrics_endpoint],
                "labels": {"deployment": deployment.deployment_id, "instance_id": view.instance_id},
            }
            for deployment in await _deployments(work)
            for view in fleets.views(deployment.name)
            if view.metrics_endpoint and view.state is not InstanceState.DOWN
        ]
        return "application/json", orjson.dumps(targets)

    return page


async def _deployments(work: Work) -> list[Deployment]:
    async with work(read_only=True) as w:
        return list(await w.deployments.all())
