"""Ports: 0 becomes a free one, a taken one is reported before anything starts."""

import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from urllib.parse import urlsplit

from deploy.embedded.settings import SERVICES, EmbeddedSettings
from libs.runtime.cannot_start import CannotStart

LOOPBACK = ("127.0.0.1", "localhost")
# Processes of a killed supervisor die with it, but not in the same instant.
PATIENCE_SECONDS = 2.0


def with_real_ports(settings: EmbeddedSettings) -> EmbeddedSettings:
    """The settings with every port checked and every 0 replaced.

    Raises:
        CannotStart: a port that another program holds, or a bus that is not on this machine.
    """
    url = urlsplit(settings.nats_url)
    if url.hostname not in LOOPBACK:
        raise CannotStart(f"INKWRIGHT_NATS_URL is {settings.nats_url}: the supervisor starts its own server, on 127.0.0.1. Leave it out.")
    wanted = {"nats_url": ("127.0.0.1", url.port if url.port is not None else 4222)}
    for name in (*SERVICES, "gateway"):
        wanted[f"{name}_address"] = _split(getattr(settings, f"{name}_address"))
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            real = _bind_all(wanted)
            break
        except CannotStart:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    changes = {field: f"nats://{address}" if field == "nats_url" else address for field, address in real.items()}
    return settings.model_copy(update=changes)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _bind_all(wanted: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """Hold all at once, so that two of them never get the same free port."""
    real: dict[str, str] = {}
    with ExitStack() as stack:
        for field, (host, port) in sorted(wanted.items(), key=lambda item: item[1][1] == 0):
            probe = stack.enter_context(socket.socket())
            # As servers do: without it ports of closed connections count as taken for a minute.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise CannotStart(
                    f"Port {port} on {host} cannot be used: {error.strerror}. Stop the program that holds it, "
                    f"or set INKWRIGHT_{field.upper()} to another port (0 picks a free one)."
                ) from error
            real[field] = f"{host}:{probe.getsockname()[1]}"
    return real
