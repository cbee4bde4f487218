"""Builds the inference service."""

from collections.abc import Callable
from pathlib import Path

from inkwright.inference.v1 import inference_service_pb2
from inkwright.inference.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from libs.runtime import migrations
from libs.runtime.alone import Alone
from libs.runtime.bus import Bus
from libs.runtime.db import Database
from libs.runtime.grpc_client import connect
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.hearing import hear
from libs.runtime.logs import configure_logs, get_logger
from libs.runtime.metrics_door import metrics_doors
from libs.runtime.names import new_id
from libs.runtime.outbox import Relay
from libs.runtime.probes import service_probes
from libs.runtime.secrets import InstallationKey
from libs.runtime.service import Service, run_service
from libs.runtime.traces import configure_traces
from libs.runtime.trust import Trust, access_key
from services.inference.api import InferenceApi
from services.inference.bundles import BundleCache
from services.inference.deps import Deps
from services.inference.events import HEARINGS
from services.inference.instance.orders import Orders
from services.inference.instance_process import InstanceProcess
from services.inference.metrics import deployment_probe, scrape_targets
from services.inference.overseer import Overseer
from services.inference.placement import Assignment, HostView
from services.inference.routes import Routes
from services.inference.rows import METADATA
from services.inference.settings import InferenceSettings
from services.inference.slot import Launch
from services.inference.store import InferenceWork
from services.inference.worker import Host

log = get_logger()

HANDOVER_SHARE = 0.7
"""Of the grace: how long a host that is stopped waits for others; what then still runs needs the rest to finish."""


async def build() -> Service:
    """Everything, from the environment."""
    settings = InferenceSettings()
    configure_logs(settings.service, level=settings.log_level, log_format=settings.log_format)
    configure_traces(settings.service, settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    return await build_from(settings)


async def build_from(settings: InferenceSettings) -> Service:
    """Everything, from given settings; tests call this too."""
    await migrations.upgrade(settings.service, settings.database_url)
    key, trust = InstallationKey.load(settings.home), Trust.load(settings)
    database = Database(settings.database_url)
    bus = await Bus.connect(settings.bus_url, name=settings.service, replicas=settings.nats_replicas)
    trainer = connect(settings.trainer_address, trust.as_service("inference"))
    work = database.work(InferenceWork)
    view = HostView(settings.host_name, settings.capacity())

    def wake() -> None:
        host.wake()
        overseer.wake()

    host = Host(
        work,
        view,
        _launch(settings, access_key(key)),
        BundleCache(settings.bundle_folder, trainer, keep=settings.inference_cache_bundles, wake=wake),
        wake,
        is_alone=database.is_sqlite,
        restart_seconds=settings.inference_restart_seconds,
        handover_seconds=settings.grace_seconds * HANDOVER_SHARE,
    )
    overseer = Overseer(work, Routes(bus, work), wake, host=view.name, suggestion_idle_seconds=settings.inference_suggestion_idle_seconds)
    deps = Deps(work, settings, key, wake)
    await host.register()
    server = GrpcServer(settings.address, trust)
    server.add(add_InferenceServiceServicer_to_server, InferenceApi(deps), inference_service_pb2.DESCRIPTOR)
    probes = {**service_probes(database, METADATA, bus), "deployments": deployment_probe(work, view.name)}
    return Service(
        name=settings.service,
        doors=[server, *metrics_doors(settings, probes, {"/instances": scrape_targets(work, view.name)})],
        workers=[host, Alone(overseer, database)],
        relay=Relay(database, METADATA, bus),
        consumers=hear(bus, HEARINGS, deps),
        stop_children=[host.stop_children],
        closers=[trainer.close, bus.close, database.close],
        grace_seconds=settings.grace_seconds,
    )


def _launch(settings: InferenceSettings, key: bytes) -> Launch:
    def launch(assignment: Assignment, bundle: Path, wake: Callable[[], None]) -> InstanceProcess:
        orders = Orders(
            deployment=assignment.deployment,
            instance_id=new_id("in"),
            bundle_path=bundle,
            bundle_digest=assignment.bundle_digest,
            engine=settings.inference_engine,
            num_threads=assignment.quota.num_threads,
            nats_url=settings.bus_url,
            access_key=key.hex(),
            tls=settings.tls_files,
            host=settings.inference_instance_host,
            queue_size=settings.inference_queue_size,
            max_image_bytes=settings.inference_max_image_bytes,
            max_image_pixels=settings.inference_max_image_pixels,
            drain_seconds=settings.inference_drain_seconds,
            metrics_address=settings.instance_metrics_address,
            metrics_token=settings.metrics_token.get_secret_value() if settings.metrics_token else "",
            otlp_endpoint=settings.otlp_endpoint,
            log_level=settings.log_level,
            log_format=settings.log_format,
        )
        return InstanceProcess(orders, wake)

    return launch


if __name__ == "__main__":
    run_service(build)
