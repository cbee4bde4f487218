"""Checks of what listens: ports, the bus, the clocks of the services."""

import asyncio
import errno
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.js.errors import ServiceUnavailableError

from deploy.doctor.finding import Finding, fail, ok, warn
from deploy.embedded import health
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.settings import SERVICES
from libs.client.credentials import found_token
from libs.client.inkwright import Inkwright
from libs.client.rest import ApiError, RestClient, Unreachable
from libs.runtime.bus import BUS_ERRORS
from libs.runtime.secrets import KEY_FILE
from libs.runtime.settings import ServiceSettings

ANSWER_SECONDS = 5.0
WATCHED_SECONDS = 0.2
MAX_STEP_SECONDS = 0.05
MAX_OFFSET_SECONDS = 2.0
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""Before this program was written: a clock that says less was never set."""


def ports(settings: ServiceSettings) -> Iterator[Finding]:
    """Each port is free, or held by the process that should hold it."""
    yield from asyncio.run(port_findings(settings))


async def port_findings(settings: ServiceSettings) -> list[Finding]:
    """As ``ports``."""
    addresses = {name: getattr(settings, f"{name}_address") for name in SERVICES}
    found = [_port(name, address, await health.grpc_service(address)) for name, address in addresses.items()]
    return [*found, _port("gateway", settings.gateway_address, await health.http(settings.gateway_address, "/healthz"))]


def _port(name: str, address: str, is_ours: bool) -> Finding:
    what, variable = f"{name} port", f"INKWRIGHT_{name.upper()}_ADDRESS"
    if is_ours:
        return ok(what, f"{address}, {name} answers there")
    host, _, port = address.rpartition(":")
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = f"Stop the program that holds it, or set {variable} to another port."
            return fail(what, f"{address} is held by something that is not {name}, or a {name} that is not ready", remedy)
        if error.errno == errno.EADDRNOTAVAIL:
            return warn(what, f"{address} is on another machine and does not answer", f"Start {name} there, or correct {variable}.")
        return fail(what, f"{address} cannot be used: {error}", f"Correct {variable}, such as 127.0.0.1:8080.")
    return ok(what, f"{address} is free")


def bus(settings: ServiceSettings) -> Iterator[Finding]:
    """NATS answers with JetStream, and writes through to the disk before it acknowledges."""
    yield from asyncio.run(bus_findings(settings))
    file = settings.home / "nats" / "nats.conf"
    if not file.exists():
        yield ok("bus disk", "the supervisor writes `sync_interval: always`; see to it yourself on a server of your own")
    elif "sync_interval: always" in file.read_text(encoding="utf-8"):
        yield ok("bus disk", "sync_interval is always: what is acknowledged survives a power cut")
    else:
        yield warn("bus disk", f"{file} lacks `sync_interval: always`", "Remove the file and start again: it is written anew.")


async def bus_findings(settings: ServiceSettings) -> list[Finding]:
    """What the server says of itself."""
    shown = ", ".join(urlsplit(url).netloc.rpartition("@")[2] for url in settings.nats_url.split(","))
    # Looking makes no key where there is none.
    url = settings.bus_url if (settings.home / KEY_FILE).exists() else settings.nats_url
    reasons: list[str] = []

    async def note(error: Exception) -> None:
        reasons.append(str(error) or repr(error))

    client = Client()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            # One try for each server: with none at all the library goes on for minutes.
            await client.connect(
                url.split(","),
                name="inkwright-doctor",
                connect_timeout=2,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                allow_reconnect=False,
                error_cb=note,
            )
    except BUS_ERRORS:
        if urlsplit(settings.nats_url.split(",")[0]).hostname in LOOPBACK:
            return [ok("bus", f"nothing answers at {shown} yet; the supervisor starts it")]
        said = f"{shown} does not answer: {reasons[-1] if reasons else 'no word'}"
        return [fail("bus", said, "Start nats-server there with JetStream, or correct INKWRIGHT_NATS_URL.")]
    try:
        account = await client.jetstream(timeout=ANSWER_SECONDS).account_info()
    except ServiceUnavailableError:
        return [
            fail("bus", f"{shown} runs without JetStream", "Add `jetstream { store_dir: …; sync_interval: always }` to its configuration.")
        ]
    except BUS_ERRORS as error:
        return [fail("bus", f"JetStream at {shown} does not answer: {error!r}", "See the log of nats-server.")]
    finally:
        await client.close()
    return [ok("bus", f"{shown}, {account.streams} streams, {account.storage / 2**20:.1f} MiB")]


def clock(settings: ServiceSettings) -> Iterator[Finding]:
    """The clock was set, runs evenly, and agrees with those of the services."""
    began, began_wall = time.monotonic(), time.time()
    time.sleep(WATCHED_SECONDS)
    step = abs((time.time() - began_wall) - (time.monotonic() - began))
    now = datetime.now(UTC)
    if now < EARLIEST:
        yield fail(
            "clock", f"it says {now:%Y-%m-%d %H:%M} UTC", "Set it, best by NTP: leases, tokens and the order of events depend on it."
        )
    elif step > MAX_STEP_SECONDS:
        yield warn(
            "clock", f"it was moved by {step:.2f} s while it was watched", "Have NTP slew the clock in place of setting it again and again."
        )
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M} UTC, runs evenly")
    yield from _offsets(settings)


def _offsets(settings: ServiceSettings) -> Iterator[Finding]:
    url = f"http://{settings.gateway_address}"
    token = found_token(url)
    if not token:
        yield ok("clocks", "not compared: there is no token to ask the gateway with")
        return
    rest = RestClient(url, token, timeout_seconds=3 * ANSWER_SECONDS)
    try:
        services = Inkwright(rest).status().services
    except Unreachable:
        yield ok("clocks", "not compared: the gateway does not run")
        return
    except ApiError as error:
        yield warn("clocks", f"not compared: {error}", "Give INKWRIGHT_TOKEN a token that may administer this installation.")
        return
    finally:
        rest.close()
    off = {row.service: row.clock_offset_seconds for row in services if abs(row.clock_offset_seconds) > MAX_OFFSET_SECONDS}
    if off:
        said = ", ".join(f"{service} {seconds:+.1f} s" for service, seconds in off.items())
        yield warn("clocks", f"off the gateway's: {said}", "Have all machines set their clocks by NTP.")
    else:
        yield ok("clocks", f"{sum(row.is_reachable for row in services)} processes agree within {MAX_OFFSET_SECONDS:.0f} s")
