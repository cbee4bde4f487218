"""The processes of an installation on one machine, in one table."""

import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from urllib.parse import urlsplit

from deploy.embedded import health
from deploy.embedded.home import written
from deploy.embedded.settings import SERVICES, EmbeddedSettings
from libs.runtime.nats_binary import nats_server_path, write_config
from libs.runtime.secrets import InstallationKey
from libs.runtime.settings import BUS_USER, bus_password
from libs.runtime.tls import Tls

ROOM_BYTES = 64 * 1024 * 1024
"""What must be free before a bus that found the disk full is started again."""
_DISK_FULL = "no space left on device"


class Stage(IntEnum):
    """The bus starts before all others. Stopping goes the other way, stage by stage."""

    BUS = 0
    SERVICE = 1
    GATEWAY = 2


@dataclass(frozen=True)
class Process:
    """One process.

    Args:
        name: of its log file and in messages.
        stage: when it starts and stops.
        argv: the program and its arguments.
        is_healthy: whether it does its work at this moment; quick, never raises.
        env: added to what every process gets.
        is_stuck: whether a line it says means that it cannot go on until it is started again.
        can_go_on: whether that would help.
    """

    name: str
    stage: Stage
    argv: tuple[str, ...]
    is_healthy: Callable[[], Awaitable[bool]]
    env: Mapping[str, str] = field(default_factory=dict)
    is_stuck: Callable[[str], bool] = lambda _line: False
    can_go_on: Callable[[], bool] = lambda: True


def processes(settings: EmbeddedSettings, token: str) -> list[Process]:
    """The table. Ports in the settings are real ones."""
    nats_port = urlsplit(settings.nats_url).port
    assert nats_port is not None
    sign_in = (BUS_USER, bus_password(InstallationKey.load(settings.home)))
    with written(settings.home):
        nats_conf = write_config(settings.home / "nats" / "nats.conf", port=nats_port, store=settings.home / "nats", sign_in=sign_in)
    gateway = settings.gateway_address
    return [
        Process(
            "nats",
            Stage.BUS,
            (nats_server_path(), "-c", str(nats_conf)),
            lambda: health.nats(nats_port),
            # After a disk was full nats-server 2.15 stores nothing any more, whatever room there is.
            is_stuck=lambda line: _DISK_FULL in line,
            can_go_on=lambda: shutil.disk_usage(settings.home / "nats").free >= ROOM_BYTES,
        ),
        *(_service(name, getattr(settings, f"{name}_address"), settings.tls) for name in SERVICES),
        Process("gateway", Stage.GATEWAY, _python("gateway.main"), lambda: health.http(gateway, "/healthz"), {"INKWRIGHT_TOKEN": token}),
    ]


def environment(settings: EmbeddedSettings) -> dict[str, str]:
    """What every process is told; the rest of the environment is passed on as it is."""
    told = {
        "home": settings.home,
        "roots": settings.roots,
        "models": settings.models,
        "nats_url": settings.nats_url,
        "gateway_address": settings.gateway_address,
        **{f"{name}_address": getattr(settings, f"{name}_address") for name in SERVICES},
        "log_level": settings.log_level,
        "log_format": "json",
        "grace_seconds": settings.grace_seconds,
    }
    # Children are exec'd, so gRPC's fork handlers have nothing to do but write a line for each.
    return {f"INKWRIGHT_{key.upper()}": str(value) for key, value in told.items()} | {"GRPC_ENABLE_FORK_SUPPORT": "0"}


def _service(name: str, address: str, tls: Tls | None) -> Process:
    return Process(name, Stage.SERVICE, _python(f"services.{name}.main"), lambda: health.grpc_service(address, tls))


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)
