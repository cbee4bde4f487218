"""An instance as a process of its own, to be killed: `python -m tests.fake_instance` prints its endpoint and serves.

An image whose last byte is 255 is never answered.
"""

import asyncio
import sys
from typing import Any

import orjson

from inkwright.inference.v1 import instance_service_pb2
from tests.gateway_world import FakeInstance, serving_instance


class HangingInstance(FakeInstance):
    """Tells on stdout when it hangs."""

    async def Predict(self, request: instance_service_pb2.PredictRequest, context: Any) -> instance_service_pb2.PredictResponse:  # noqa: N802
        if request.image[-1] == 255:
            say(holds=True)
            await asyncio.Event().wait()
        return await super().Predict(request, context)


def say(**event: object) -> None:
    """One JSON line to the parent."""
    sys.stdout.buffer.write(orjson.dumps(event) + b"\n")
    sys.stdout.buffer.flush()


async def main() -> None:
    async with serving_instance(HangingInstance()) as server:
        say(endpoint=server.address)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
