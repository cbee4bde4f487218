"""The gateway's process: management REST, public API, files and live events."""

import asyncio
from functools import partial

from gateway.app import Parts, build_app
from gateway.auth import load_admin_token
from gateway.console.letters import EventApi
from gateway.console.status import StatusApi
from gateway.metrics import gateway_probes
from gateway.public.routing import RoutingTable
from gateway.settings import GatewaySettings
from gateway.transcode.call import Peers
from libs.runtime.bus import Bus
from libs.runtime.http_door import HttpDoor
from libs.runtime.logs import configure_logs, get_logger
from libs.runtime.metrics_door import metrics_doors
from libs.runtime.secrets import InstallationKey
from libs.runtime.service import Service, Worker, run_service
from libs.runtime.traces import configure_traces

log = get_logger()


async def build() -> Service:
    """Everything the process is made of; nothing serves yet."""
    settings = GatewaySettings()
    configure_logs(settings.service, level=settings.log_level, log_format=settings.log_format)
    configure_traces(settings.service, settings.otlp_endpoint)
    log.info("settings", **settings.masked())
    return await build_service(settings)


async def build_service(settings: GatewaySettings) -> Service:
    """As ``build``, from given settings; the first door is an ``HttpDoor``."""
    admin_token = settings.token.get_secret_value() if settings.token else load_admin_token(settings.home)
    table = RoutingTable(InstallationKey.load(settings.home))
    bus = await Bus.connect(settings.nats_url, name=settings.service)
    addresses = {
        "dataset": settings.dataset_address,
        "labeling": settings.labeling_address,
        "trainer": settings.trainer_address,
        "inference": settings.inference_address,
    }
    status = StatusApi(bus, settings.home, settings.address, addresses)
    peers = Peers(addresses, {"EventService": EventApi(bus), "StatusService": status})
    stopping = asyncio.Event()
    app = build_app(Parts(settings, admin_token, peers, bus, table, stopping))
    return Service(
        name=settings.service,
        doors=[HttpDoor(app, settings.address, stopping), *metrics_doors(settings, gateway_probes(bus, table))],
        consumers=[Worker("routing", partial(table.follow, bus))],
        closers=[table.close, status.close, peers.close, bus.close],
        grace_seconds=settings.grace_seconds,
    )


def main() -> None:
    """Run until a signal."""
    run_service(build)


if __name__ == "__main__":
    main()
