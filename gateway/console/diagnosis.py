"""What of a status is not well, in words. No I/O."""

from collections.abc import Iterator
from typing import Final

from inkwright.gateway.v1 import status_pb2

MAX_CLOCK_OFFSET_SECONDS: Final = 2.0
"""Tokens, leases and orders of events bear a second or two."""
MIN_FREE_BYTES: Final = 2**30
MAX_WAITING: Final = 1000
"""A consumer handles a fact in a few milliseconds: so many are some seconds of work, and more than it usually lies behind."""
FAILED_STATES: Final = ("FAILED", "DELETE_FAILED")


def problems_of(status: status_pb2.Status) -> list[str]:
    """Sentences for an operator, the gravest first."""
    return [*_services(status), *_bus(status.bus), *_deployments(status), *_disk(status.disk)]


def _services(status: status_pb2.Status) -> Iterator[str]:
    own = status.services[0].version
    for row in status.services:
        if not row.is_reachable:
            yield f"{row.service} does not answer at {row.address}: see its log, and whether it runs."
        elif not row.is_ready:
            yield f"{row.service} takes no new work: it is starting or going down; look again in a moment."
        elif row.version != own:
            yield f"{row.service} runs version {row.version}, the gateway {own}: finish the update by restarting the older one."
        if abs(row.clock_offset_seconds) > MAX_CLOCK_OFFSET_SECONDS:
            yield f"The clock of {row.service} is {row.clock_offset_seconds:+.1f} s off the gateway's: set both by NTP."


def _bus(bus: status_pb2.BusStatus) -> Iterator[str]:
    if not bus.is_connected:
        yield "The bus does not answer: facts and jobs wait in the databases until nats-server is back; see its log."
    if bus.num_dead_letters:
        letters = "1 message was" if bus.num_dead_letters == 1 else f"{bus.num_dead_letters} messages were"
        yield f"{letters} given up on: `inkctl events dead list` says why, `replay` hands back."
    for row in bus.consumers:
        # A job that is given a second time is a node that goes on after a restart.
        if row.num_tried_again and row.stream.startswith("EVT_"):
            yield f"{row.durable} fails on a fact and tries it again; the log of {row.durable.partition('-')[0]} says why."
        elif row.num_waiting > MAX_WAITING:
            yield f"{row.durable} has {row.num_waiting} messages before it; see whether {row.durable.partition('-')[0]} keeps up."


def _deployments(status: status_pb2.Status) -> Iterator[str]:
    for row in status.deployments:
        if row.state in FAILED_STATES:
            yield f"Deployment {row.name.rpartition('/')[2]} is {row.state}: {row.message}"


def _disk(disk: status_pb2.DiskStatus) -> Iterator[str]:
    if disk.free_bytes < MIN_FREE_BYTES:
        yield f"Only {disk.free_bytes / 2**20:.0f} MiB are free where {disk.path} lies: make room before a database cannot write."
