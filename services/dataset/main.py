"""The dataset service: ``python -m services.dataset.main``."""

from inkwright.dataset.v1 import dataset_service_pb2
from inkwright.dataset.v1.dataset_service_pb2_grpc import add_DatasetServiceServicer_to_server
from libs.runtime.allowed_roots import AllowedRoots
from libs.runtime.alone import Alone
from libs.runtime.bus import Bus
from libs.runtime.db import Database
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.hearing import hear
from libs.runtime.logs import configure_logs, get_logger
from libs.runtime.metrics_door import metrics_doors
from libs.runtime.migrations import upgrade
from libs.runtime.oss_connection import read_connections
from libs.runtime.outbox import Relay
from libs.runtime.probes import service_probes
from libs.runtime.service import Service, Worker, run_service
from libs.runtime.traces import configure_traces
from libs.runtime.trust import Trust
from services.dataset.api import DatasetApi
from services.dataset.events import HEARINGS, Deps
from services.dataset.health.surveyor import Surveyor
from services.dataset.indexing.indexer import Indexer
from services.dataset.pictures.cache import PictureCache
from services.dataset.pictures.pictures import Pictures
from services.dataset.settings import DatasetSettings
from services.dataset.store import METADATA, DatasetWork
from services.dataset.stores import Stores
from services.dataset.transfer.label_importer import LabelImporter
from services.dataset.uploads.staging import Staging
from services.dataset.uploads.worker import UploadWorker

log = get_logger()


async def build() -> Service:
    """Everything the process is made of, nothing started."""
    settings = DatasetSettings()
    configure_logs("dataset", level=settings.log_level, log_format=settings.log_format)
    configure_traces("dataset", settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    return await build_with(settings)


async def build_with(settings: DatasetSettings) -> Service:
    """``build`` for given settings."""
    await upgrade("dataset", settings.database_url)
    trust = Trust.load(settings)
    database = Database(settings.database_url)
    bus = await Bus.connect(settings.bus_url, name="dataset", replicas=settings.nats_replicas)
    work = database.work(DatasetWork)
    stores = Stores(AllowedRoots.from_setting(settings.roots), read_connections(settings.oss_connections))
    pictures = Pictures(stores, PictureCache(settings.home / "dataset" / "pictures", settings.picture_cache_bytes))
    surveyor = Surveyor(work, stores)
    indexer = Indexer(work, stores, pictures, surveyor.wake)
    importer = LabelImporter(work, stores)
    staging = Staging(settings.upload_folder or settings.home / "uploads")
    uploads = UploadWorker(work, stores, staging, max_unpacked_bytes=settings.upload_max_unpacked_bytes, wake_indexer=indexer.wake)
    server = GrpcServer(settings.address, trust)
    api = DatasetApi(
        work,
        stores,
        indexer,
        surveyor,
        pictures,
        importer,
        uploads,
        staging,
        upload_max_bytes=settings.upload_max_bytes,
        trash_days=settings.trash_days,
    )
    server.add(add_DatasetServiceServicer_to_server, api, dataset_service_pb2.DESCRIPTOR)
    return Service(
        "dataset",
        doors=[server, *metrics_doors(settings, service_probes(database, METADATA, bus))],
        workers=[
            Alone(Worker("indexer", indexer.run), database),
            Alone(Worker("surveyor", surveyor.run), database),
            Alone(Worker("label-importer", importer.run), database),
            Alone(Worker("uploads", uploads.run), database),
        ],
        relay=Relay(database, METADATA, bus),
        consumers=hear(bus, HEARINGS, Deps(work)),
        closers=[pictures.close, stores.close, database.close, bus.close],
        grace_seconds=settings.grace_seconds,
    )


if __name__ == "__main__":
    run_service(build)
