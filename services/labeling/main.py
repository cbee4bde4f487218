"""The labeling service: ``python -m services.labeling.main``."""

from inkwright.labeling.v1 import labeling_service_pb2
from inkwright.labeling.v1.labeling_service_pb2_grpc import add_LabelingServiceServicer_to_server
from libs.runtime.alone import Alone
from libs.runtime.bus import Bus
from libs.runtime.db import Database
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.hearing import hear
from libs.runtime.logs import configure_logs, get_logger
from libs.runtime.metrics_door import metrics_doors
from libs.runtime.migrations import upgrade
from libs.runtime.outbox import Relay
from libs.runtime.probes import service_probes
from libs.runtime.service import Service, Worker, run_service
from libs.runtime.traces import configure_traces
from libs.runtime.trust import Trust
from services.labeling.api import LabelingApi
from services.labeling.events import HEARINGS, Deps
from services.labeling.peers import Peers
from services.labeling.runner import PrelabelRunner
from services.labeling.settings import LabelingSettings
from services.labeling.store import METADATA, LabelingWork

log = get_logger()


async def build() -> Service:
    """Everything the process is made of, nothing started."""
    settings = LabelingSettings()
    configure_logs("labeling", level=settings.log_level, log_format=settings.log_format)
    configure_traces("labeling", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    return await build_with(settings)


async def build_with(settings: LabelingSettings) -> Service:
    """``build`` for given settings."""
    await upgrade("labeling", settings.database_url)
    trust = Trust.load(settings)
    database = Database(settings.database_url)
    bus = await Bus.connect(settings.bus_url, name="labeling", replicas=settings.nats_replicas)
    work = database.work(LabelingWork)
    peers = Peers(settings.dataset_address, settings.inference_address, trust.as_service("labeling"))
    runner = PrelabelRunner(work, peers, wait_seconds=settings.suggestion_wait_seconds, renew_seconds=settings.suggestion_renew_seconds)
    server = GrpcServer(settings.address, trust)
    server.add(add_LabelingServiceServicer_to_server, LabelingApi(work, peers, runner), labeling_service_pb2.DESCRIPTOR)
    return Service(
        "labeling",
        doors=[server, *metrics_doors(settings, service_probes(database, METADATA, bus))],
        workers=[Alone(Worker("prelabel-runner", runner.run), database)],
        relay=Relay(database, METADATA, bus),
        consumers=hear(bus, HEARINGS, Deps(work, peers)),
        closers=[peers.close, database.close, bus.close],
        grace_seconds=settings.grace_seconds,
    )


if __name__ == "__main__":
    run_service(build)
