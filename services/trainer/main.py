"""The trainer's process: ``python -m services.trainer.main``."""

import asyncio
from importlib.metadata import version

from inkwright.trainer.v1 import trainer_service_pb2, trainer_service_pb2_grpc
from libs.runtime.alone import Alone
from libs.runtime.bus import Bus
from libs.runtime.db import Database
from libs.runtime.grpc_client import connect
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.hearing import hear
from libs.runtime.local_folder import LocalFolder
from libs.runtime.logs import configure_logs, get_logger
from libs.runtime.metrics_door import metrics_doors
from libs.runtime.migrations import upgrade
from libs.runtime.outbox import Relay
from libs.runtime.probes import service_probes
from libs.runtime.service import Service, run_service
from libs.runtime.traces import configure_traces
from libs.runtime.trust import Trust
from services.trainer.api import TrainerApi
from services.trainer.dataset_client import DatasetClient
from services.trainer.deps import Deps
from services.trainer.events import HEARINGS
from services.trainer.freezer import Freezer
from services.trainer.metrics import training_probe
from services.trainer.model_actions import register_bases
from services.trainer.restored import begin_again
from services.trainer.settings import TrainerSettings
from services.trainer.store import METADATA, TrainerWork
from services.trainer.sweeper import Sweeper
from services.trainer.worker import NodeWorker

log = get_logger()


async def build() -> Service:
    """Everything the process is made of, nothing started."""
    settings = TrainerSettings()
    configure_logs("trainer", level=settings.log_level, log_format=settings.log_format)
    configure_traces("trainer", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    return await build_with(settings)


async def build_with(settings: TrainerSettings) -> Service:
    """``build`` for given settings."""
    settings.artifact_folder.mkdir(parents=True, exist_ok=True)
    await upgrade("trainer", settings.database_url)
    trust = Trust.load(settings)
    database = Database(settings.database_url)
    bus = await Bus.connect(settings.bus_url, name="trainer", replicas=settings.nats_replicas)
    channel = connect(settings.dataset_address, trust.as_service("trainer"))
    deps = Deps(
        work=database.work(TrainerWork),
        settings=settings,
        datasets=DatasetClient(channel),
        artifacts=LocalFolder(settings.artifact_folder),
        code_version=version("inkwright"),
        trust=trust,
        task_created=asyncio.Event(),
    )
    # Replicas that start together would register the same bases, and begin again what another has just begun.
    async with database.alone("start"):
        await register_bases(deps)
        await begin_again(deps)
    server = GrpcServer(settings.address, trust)
    server.add(trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server, TrainerApi(deps), trainer_service_pb2.DESCRIPTOR)
    workers = [NodeWorker(deps, bus, number=number) for number in range(1, settings.trainer_workers + 1)]
    probes = {**service_probes(database, METADATA, bus), "training": training_probe(deps.work)}
    return Service(
        "trainer",
        doors=[server, *metrics_doors(settings, probes)],
        workers=[Alone(Freezer(deps), database), Sweeper(deps), *workers],
        relay=Relay(database, METADATA, bus),
        consumers=hear(bus, HEARINGS, deps),
        closers=[channel.close, database.close, bus.close],
        grace_seconds=settings.grace_seconds,
    )


if __name__ == "__main__":
    run_service(build)
