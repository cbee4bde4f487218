"""The bus of an installation: the one that runs, or a server of our own on its store while nothing runs there."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

from deploy.backup.archive import BackupError
from deploy.embedded.home import is_held, locked_home
from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.cannot_start import CannotStart
from libs.runtime.child import Child
from libs.runtime.nats_binary import nats_server_path, write_config
from libs.runtime.secrets import InstallationKey
from libs.runtime.settings import BUS_USER, ServiceSettings, bus_password

CONNECT_SECONDS = 15.0
START_SECONDS = 60.0
"""A server reads its whole store first."""
CONFIG_FILE = "nats.conf"

_LISTEN = re.compile(r'^listen: "127\.0\.0\.1:(\d+)"$', re.MULTILINE)


@asynccontextmanager
async def bus_of(settings: ServiceSettings) -> AsyncIterator[Bus]:
    """The bus of the installation in ``settings.home``, whether that runs or not.

    Raises:
        BackupError: it does not answer, or the home cannot be used.
    """
    if has_bus_elsewhere(settings):
        async with bus_elsewhere(settings) as bus:
            yield bus
        return
    if is_held(settings.home):
        url = f"nats://{_sign_in(settings.home)}@127.0.0.1:{_running_port(settings.home)}"
        async with _connected(url) as bus:
            yield bus
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(locked_home(settings.home))
        except CannotStart as error:
            raise BackupError(str(error)) from error
        async with own_bus(settings.home) as bus:
            yield bus


@asynccontextmanager
async def own_bus(home: Path) -> AsyncIterator[Bus]:
    """A server on the store of a home that nobody else uses, for as long as the block takes.

    Raises:
        BackupError: it does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    store = home / "nats"
    store.mkdir(exist_ok=True, mode=0o700)
    user, _, password = _sign_in(home).partition(":")
    config = write_config(store / CONFIG_FILE, port=port, store=store, sign_in=(user, password))
    server = await Child.start([nats_server_path(), "-c", str(config)], name="nats-server", log_line=lambda _line: None)
    try:
        async with _connected(f"nats://{user}:{password}@127.0.0.1:{port}", START_SECONDS) as bus:
            yield bus
    finally:
        ended = await server.terminate(START_SECONDS)
    if ended.signal_name == "SIGKILL":
        raise BackupError(f"The nats-server on {store} did not stop within {START_SECONDS:.0f} s.")


def has_bus_elsewhere(settings: ServiceSettings) -> bool:
    """Whether the setting names a server that is not the installation's own: only such a one has a sign-in there."""
    return "@" in settings.nats_url


def bus_elsewhere(settings: ServiceSettings) -> AbstractAsyncContextManager[Bus]:
    """That server.

    Raises:
        BackupError: it does not answer.
    """
    return _connected(settings.nats_url)


@asynccontextmanager
async def _connected(url: str, seconds: float = CONNECT_SECONDS) -> AsyncIterator[Bus]:
    try:
        async with asyncio.timeout(seconds):
            # Nothing is declared: a backup changes nothing.
            bus = await Bus.connect(url, name="backup", streams=())
    except (TimeoutError, *BUS_ERRORS) as error:
        raise BackupError(f"The bus at {url.rpartition('@')[2]} does not answer: {error or 'no connection'}.") from error
    try:
        yield bus
    finally:
        await bus.close()


def _sign_in(home: Path) -> str:
    return f"{BUS_USER}:{bus_password(InstallationKey.load(home))}"


def _running_port(home: Path) -> str:
    path = home / "nats" / CONFIG_FILE
    found = _LISTEN.search(path.read_text()) if path.is_file() else None
    if found is None:
        raise BackupError(f"Inkwright runs on {home}, but its bus has not started yet; try again in a moment.")
    return found[1]
