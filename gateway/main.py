"""The gateway's process: management REST, public API, files and live events."""

import asyncio
from functools import partial

from gateway.app import Parts, build_app
from gateway.console.letters import EventApi
from gateway.console.status import StatusApi
from gateway.identity.api import AuditApi, UserApi
from gateway.identity.doorkeeper import Doorkeeper
from gateway.identity.hearing import HEARINGS
from gateway.identity.housekeeping import Housekeeping
from gateway.identity.passwords import Passwords, Throttle
from gateway.identity.session import Sessions
from gateway.metrics import gateway_probes
from gateway.public.routing import RoutingTable
from gateway.settings import GatewaySettings
from gateway.store import GatewayWork
from gateway.transcode.call import Peers
from libs.runtime.admin_token import load_admin_token
from libs.runtime.bus import Bus
from libs.runtime.db import Database
from libs.runtime.hearing import hear
from libs.runtime.http_door import HttpDoor
from libs.runtime.logs import configure_logs, get_logger
from libs.runtime.metrics_door import metrics_doors
from libs.runtime.migrations import upgrade
from libs.runtime.secrets import InstallationKey
from libs.runtime.service import Service, Worker, run_service
from libs.runtime.traces import configure_traces
from libs.runtime.trust import Trust

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
    await upgrade(settings.service, settings.database_url)
    trust = Trust.load(settings)
    database = Database(settings.database_url)
    work, passwords, throttle = database.work(GatewayWork), Passwords(), Throttle()
    table = RoutingTable(InstallationKey.load(settings.home), trust.as_service(settings.service))
    bus = await Bus.connect(settings.bus_url, name=settings.service, replicas=settings.nats_replicas)
    addresses = {
        "dataset": settings.dataset_address,
        "labeling": settings.labeling_address,
        "trainer": settings.trainer_address,
        "inference": settings.inference_address,
    }
    status = StatusApi(bus, settings.home, settings.address, addresses, trust.as_caller())
    own = {
        "AuditService": AuditApi(work),
        "EventService": EventApi(bus, work),
        "StatusService": status,
        "UserService": UserApi(work, passwords, throttle, trust.key),
    }
    peers = Peers(addresses, trust.as_caller(), own)
    stopping = asyncio.Event()
    doorkeeper = Doorkeeper(work, admin_token)
    sessions = Sessions(work, passwords, throttle, secure_cookies=settings.secure_cookies)
    app = build_app(Parts(settings, doorkeeper, sessions, peers, bus, table, stopping))
    return Service(
        name=settings.service,
        doors=[HttpDoor(app, settings.address, stopping), *metrics_doors(settings, gateway_probes(bus, table))],
        workers=[Housekeeping(work, audit_days=settings.audit_days)],
        consumers=[Worker("routing", partial(table.follow, bus)), *hear(bus, HEARINGS, work)],
        closers=[table.close, status.close, peers.close, database.close, bus.close],
        grace_seconds=settings.grace_seconds,
    )


def main() -> None:
    """Run until a signal."""
    run_service(build)


if __name__ == "__main__":
    main()
