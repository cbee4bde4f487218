"""A whole service that does nothing but live: ``python -m tests.integration.fake_service NAME [crash]``.

It binds its address, starts a child of its own and says in its log when each part begins and ends.
"""

import asyncio
import os
import sys
from typing import ClassVar

from libs.runtime.child import Child
from libs.runtime.grpc_server import GrpcServer
from libs.runtime.logs import configure_logs, get_logger
from libs.runtime.service import Service, Worker, run_service
from libs.runtime.settings import ServiceSettings
from tests.trust import TRUST

log = get_logger()


class Settings(ServiceSettings):
    """Named by the command line."""

    service: ClassVar[str] = sys.argv[1]


class Part:
    """A loop that notes its end."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, stopping: asyncio.Event) -> None:
        """Wait to be stopped."""
        await stopping.wait()
        log.info("part_stopped", part=self.name)


async def crash(_stopping: asyncio.Event) -> None:
    """Fail a moment after the start."""
    await asyncio.sleep(0.2)
    raise RuntimeError("the worker broke")


async def build() -> Service:
    """Server, worker, relay, consumer, child."""
    settings = Settings()
    configure_logs(settings.service)
    if "hopeless" in sys.argv:
        raise ValueError("no such base model")
    if "forever" in sys.argv:
        log.info("building")
        await asyncio.sleep(3600)
    child = await Child.start([sys.executable, "-m", "tests.integration.family", "1"], name="family")

    async def stop_child(grace_seconds: float) -> None:
        await child.terminate(grace_seconds)
        log.info("part_stopped", part="child")

    async def close() -> None:
        log.info("part_stopped", part="database")

    pids = settings.home / "pids"
    pids.mkdir(parents=True, exist_ok=True)
    (pids / settings.service).write_text(str(os.getpid()))
    return Service(
        settings.service,
        doors=[GrpcServer(settings.address, TRUST)],
        workers=[Part("worker"), *([Worker("broken", crash)] if "crash" in sys.argv else [])],
        relay=Part("relay"),
        consumers=[Part("consumer")],
        stop_children=[stop_child],
        closers=[close],
        grace_seconds=settings.grace_seconds,
    )


if __name__ == "__main__":
    run_service(build)
