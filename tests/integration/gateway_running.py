"""The gateway as it is built for production, with a real bus, behind a real port, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from gateway.main import build_service
from gateway.settings import GatewaySettings
from libs.runtime.bus import Bus
from libs.runtime.http_door import HttpDoor
from libs.runtime.key_value import KeyValue
from libs.runtime.secrets import InstallationKey
from libs.runtime.service import serve
from libs.runtime.testing import NatsServer, assert_eventually, free_port
from tests.gateway_world import ADMIN_TOKEN, DEPLOYMENT_TOKEN, DIGEST, element, instance_entry, route_entry
from tests.trust import keyed


@dataclass
class Installation:
    """A running gateway, the bus it hears, and clients of both."""

    url: str
    http: httpx.AsyncClient
    bus: Bus
    key: InstallationKey
    deployments: KeyValue
    instances: KeyValue
    stop: asyncio.Event
    task: asyncio.Task[None]

    async def deploy(self, deployment_id: str, *endpoints: str, digest: str = DIGEST) -> None:
        """Write what inference and instances write."""
        await self.deployments.put(deployment_id, route_entry(self.key, deployment_id))
        for number, endpoint in enumerate(endpoints):
            await self.register(deployment_id, f"i{number}", endpoint, digest)
        await assert_eventually(lambda: self._refuses_nonsense(deployment_id))

    async def _refuses_nonsense(self, deployment_id: str) -> bool:
        # A gateway that has not heard of a deployment yet answers 503 or 404 before it looks at the body.
        answer = await self.http.post(f"/api/predict/{deployment_id}", content=b"{", headers={"Authorization": DEPLOYMENT_TOKEN})
        return answer.status_code == 400

    async def register(self, deployment_id: str, instance_id: str, endpoint: str, digest: str = DIGEST) -> None:
        """One registration of one instance."""
        await self.instances.put(f"{deployment_id}.{instance_id}", instance_entry(deployment_id, instance_id, endpoint, digest))

    async def predict(self, deployment_id: str, *images: bytes) -> httpx.Response:
        """Call the public API."""
        body = {"dataArray": [element(image) for image in images]}
        return await self.http.post(f"/api/predict/{deployment_id}", json=body, headers={"Authorization": DEPLOYMENT_TOKEN})

    async def until_status(self, deployment_id: str, image: bytes, status: int) -> None:
        """Call until the answer has this status: what was written takes a moment to be heard."""

        async def answered() -> None:
            answer = await self.predict(deployment_id, image)
            assert answer.status_code == status, answer.text

        await assert_eventually(answered)


@asynccontextmanager
async def running_gateway(nats: NatsServer, home: Path, **changed: Any) -> AsyncIterator[Installation]:
    """Serve until the block ends."""
    nowhere = {f"{service}_address": f"127.0.0.1:{free_port()}" for service in ("dataset", "labeling", "trainer", "inference")}
    settings = GatewaySettings(
        **{
            "home": keyed(home),
            "nats_url": nats.url,
            "gateway_address": "127.0.0.1:0",
            "token": SecretStr(ADMIN_TOKEN),
            "grace_seconds": 5.0,
            **nowhere,
            **changed,
        }
    )
    service = await build_service(settings)
    door = service.doors[0]
    assert isinstance(door, HttpDoor)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(service, stop), name="gateway")

    def is_bound() -> bool:
        if task.done():
            task.result()
        return not door.address.endswith(":0")

    bus = await Bus.connect(nats.url, name="test")
    try:
        await assert_eventually(is_bound)
        url = f"http://{door.address}"
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, timeout=30) as http:
            deployments = await KeyValue.open(bus, "deployments", ttl_seconds=0)
            instances = await KeyValue.open(bus, "instances", ttl_seconds=8)
            yield Installation(url, http, bus, InstallationKey.load(home), deployments, instances, stop, task)
    finally:
        stop.set()
        await task
        await bus.close()
