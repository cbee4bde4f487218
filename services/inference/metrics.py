"""Deployments and this host's instances in numbers, and where the instances show their own."""

import orjson
from prometheus_client import Gauge

from libs.runtime.metrics_door import Page, Probe
from libs.runtime.names import DEPLOYMENT
from services.inference.domain import Deployment
from services.inference.instances import InstanceState, InstanceView
from services.inference.store import Work

WANTED = Gauge("inkwright_deployment_wanted_instances", "Instances that a deployment should have.", ["deployment"])
INSTANCES = Gauge("inkwright_deployment_instances", "Instances that it has on this host, by state.", ["deployment", "state"])
LOAD = Gauge(
    "inkwright_deployment_in_flight", "Images in work or waiting at its instances on this host, as they told last.", ["deployment"]
)

Views = list[tuple[str, InstanceView]]
"""Names of deployments, and an instance of each."""


def deployment_probe(work: Work, host: str) -> Probe:
    """Brings the gauges up to date; a deployment that is gone leaves them."""

    async def look() -> None:
        deployments, instances = await _look(work, host)
        for gauge in (WANTED, INSTANCES, LOAD):
            gauge.clear()
        for deployment in deployments:
            views = [view for name, view in instances if name == deployment.name]
            WANTED.labels(deployment.deployment_id).set(deployment.wanted_instances)
            LOAD.labels(deployment.deployment_id).set(sum(view.num_in_flight for view in views))
            for state in InstanceState:
                INSTANCES.labels(deployment.deployment_id, state).set(sum(view.state is state for view in views))

    return look


def scrape_targets(work: Work, host: str) -> Page:
    """What Prometheus's ``http_sd_configs`` reads: the ports that this host's instances took for their metrics."""

    async def page() -> tuple[str, bytes]:
        _, instances = await _look(work, host)
        targets = [
            {
                "targets": [view.metrics_endpoint],
                "labels": {"deployment": DEPLOYMENT.parse(name)["deployment"], "instance_id": view.instance_id},
            }
            for name, view in instances
            if view.metrics_endpoint and view.state is not InstanceState.DOWN
        ]
        return "application/json", orjson.dumps(targets)

    return page


async def _look(work: Work, host: str) -> tuple[list[Deployment], Views]:
    async with work(read_only=True) as w:
        deployments, assignments = await w.deployments.all(), await w.assignments.all(host=host)
    return deployments, [(each.deployment, each.report.view) for each in assignments if each.report.view]
