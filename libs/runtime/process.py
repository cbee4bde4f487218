"""What this process says of itself to others of the installation."""

# ruff: noqa: N802 - the proto names the methods

import time
from datetime import datetime, timedelta
from functools import cache
from importlib import metadata
from typing import Any, Final

import grpc

from inkwright.common.v1 import process_service_pb2
from inkwright.common.v1.process_service_pb2_grpc import ProcessServiceServicer
from libs.runtime.times import to_timestamp, utc_now

_STARTED: Final = time.monotonic()
"""When this module was loaded: as good as the start of the process."""


@cache
def version() -> str:
    """Of Inkwright, as it is installed."""
    return metadata.version("inkwright")


def start_time() -> datetime:
    """When this process started, by today's clock: what lies in between is right also after the clock was set."""
    return utc_now() - timedelta(seconds=time.monotonic() - _STARTED)


class ProcessApi(ProcessServiceServicer):
    """``inkwright.common.v1.ProcessService``; every ``GrpcServer`` serves it."""

    async def GetProcess(
        self, request: process_service_pb2.GetProcessRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> process_service_pb2.GetProcessResponse:
        """See the proto."""
        return process_service_pb2.GetProcessResponse(
            version=version(), start_time=to_timestamp(start_time()), current_time=to_timestamp(utc_now())
        )
