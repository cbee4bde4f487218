"""A service of ours running inside a test's own process, with everything real around it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from libs.runtime.grpc_server import GrpcServer
from libs.runtime.service import Service, serve
from libs.runtime.testing import assert_eventually


@asynccontextmanager
async def running(building: Awaitable[Service]) -> AsyncIterator[str]:
    """Serve until the block ends; gives the address of the service's gRPC server."""
    service = await building
    door = service.doors[0]
    assert isinstance(door, GrpcServer)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(service, stop), name=service.name)

    def is_bound() -> bool:
        if task.done():
            task.result()
        return not door.address.endswith(":0")

    try:
        await assert_eventually(is_bound)
        yield door.address
    finally:
        stop.set()
        await task
