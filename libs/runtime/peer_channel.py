"""A channel whose every call carries the caller's access token.

A wrapper and no interceptor of the library: its asyncio interceptors run each call in one more task, and cancel it differently.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import grpc

AUTHORIZATION_KEY: Final = "authorization"
"""gRPC metadata key."""


class PeerChannel(grpc.aio.Channel):
    """``channel`` with a token.

    Args:
        channel: does the work.
        token: gives the access token when a call starts.
    """

    def __init__(self, channel: grpc.aio.Channel, token: Callable[[], str]) -> None:
        self._channel = channel
        self._token = token

    async def __aenter__(self) -> "PeerChannel":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """See ``grpc.aio.Channel``, as all that follows."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    def unary_unary(self, method: str, *arguments: Any, **named: Any) -> Any:
        return _Method(self._channel.unary_unary(method, *arguments, **named), method, self._token)

    def unary_stream(self, method: str, *arguments: Any, **named: Any) -> Any:
        return _Method(self._channel.unary_stream(method, *arguments, **named), method, self._token)

    def stream_unary(self, method: str, *arguments: Any, **named: Any) -> Any:
        return _Method(self._channel.stream_unary(method, *arguments, **named), method, self._token)

    def stream_stream(self, method: str, *arguments: Any, **named: Any) -> Any:
        return _Method(self._channel.stream_stream(method, *arguments, **named), method, self._token)


class _Method:
    def __init__(self, callable_: Any, path: str, token: Callable[[], str]) -> None:
        self.path = path
        self._callable = callable_
        self._token = token

    def __call__(self, *arguments: Any, metadata: tuple[tuple[str, str], ...] = (), **named: Any) -> Any:
        shown = (*metadata, (AUTHORIZATION_KEY, f"Bearer {self._token()}"))
        return self._callable(*arguments, metadata=shown, **named)
