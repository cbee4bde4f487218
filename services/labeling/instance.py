"""The instance a run uses: acquired, kept by asking again, acquired anew when it is lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

import grpc

from libs.runtime.errors import Expired, NoReadyInstance
from libs.runtime.grpc_client import connect
from libs.runtime.logs import get_logger
from services.labeling.peers import Lease, Peers, predict
from services.labeling.prelabel import SuggestedLine

log = get_logger()

POLL_SECONDS: Final = 0.5


class SuggestionInstance:
    """Made by ``acquired``."""

    def __init__(self, peers: Peers, model: str, wait_seconds: float) -> None:
        self.model = model
        """Name of the model that answers, once it is acquired."""
        self._peers = peers
        self._wait_seconds = wait_seconds
        self._endpoint = ""
        self._channel: grpc.aio.Channel | None = None
        self._acquiring = asyncio.Lock()
        self._num_acquired = 0

    @classmethod
    @asynccontextmanager
    async def acquired(cls, peers: Peers, model: str, *, wait_seconds: float, renew_seconds: float) -> AsyncIterator[Self]:
        """An instance that stays until the block ends.

        Raises:
            NoReadyInstance: none was ready within ``wait_seconds``.
            NotFound, WrongState: there is no such model, or it is retired.
        """
        instance = cls(peers, model, wait_seconds)
        await instance.acquire_again()
        renewing = asyncio.create_task(instance._renew(renew_seconds), name="renew-instance")
        try:
            yield instance
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            if instance._channel is not None:
                await instance._channel.close()

    async def predict(self, image: bytes) -> list[SuggestedLine]:
        """Let it read an image; raises as ``peers.predict``."""
        assert self._channel is not None
        return await predict(self._channel, image)

    async def acquire_again(self) -> None:
        """Ask until an instance is ready; callers that wait at the same time share one answer.

        Raises:
            NoReadyInstance: none was ready in time.
            NotFound, WrongState: there is no such model, or it is retired.
        """
        before = self._num_acquired
        async with self._acquiring:
            if self._num_acquired == before:
                await self._use(await self._wait())

    async def _wait(self) -> Lease:
        end = time.monotonic() + self._wait_seconds
        while True:
            try:
                return await self._peers.acquire(self.model)
            except (NoReadyInstance, Expired) as fault:
                if time.monotonic() > end:
                    message = f"No instance for suggestions was ready within {self._wait_seconds:g} s: {fault.message}"
                    raise NoReadyInstance(message, seconds=self._wait_seconds) from fault
            await asyncio.sleep(POLL_SECONDS)

    async def _use(self, lease: Lease) -> None:
        self.model = lease.model or self.model
        self._num_acquired += 1
        if lease.endpoint != self._endpoint:
            old, self._endpoint = self._channel, lease.endpoint
            self._channel = connect(lease.endpoint, self._peers.credentials)
            if old is not None:
                await old.close()

    async def _renew(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                async with self._acquiring:
                    await self._use(await self._peers.acquire(self.model))
            except (NoReadyInstance, Expired) as fault:
                # The call that finds the instance gone waits for another one.
                log.warning("instance_not_renewed", model=self.model, reason=fault.reason)
