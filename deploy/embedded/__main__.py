"""``python -m deploy.embedded``: start everything, print ``address`` and ``token``, stay until Ctrl-C."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from deploy.embedded import home, ports
from deploy.embedded.processes import Process, environment, processes
from deploy.embedded.settings import EmbeddedSettings
from deploy.embedded.supervisor import Supervisor
from libs.runtime.cannot_start import CannotStart, wrong_settings
from libs.runtime.logs import configure_logs, get_logger

log = get_logger()

Table = Callable[[EmbeddedSettings, str], Sequence[Process]]


def main(table: Table = processes) -> int:
    """Run the installation; exit code 1 when it cannot start.

    Args:
        table: what to start.
    """
    try:
        settings = EmbeddedSettings()
        configure_logs("supervisor", level=settings.log_level, log_format=settings.log_format)
        with home.locked_home(settings.home.expanduser().absolute()) as folder:
            settings = ports.with_real_ports(settings.model_copy(update={"home": folder}))
            token = home.admin_token(folder, settings.token.get_secret_value() if settings.token else None)
            return asyncio.run(_run(settings, token, table))
    except ValidationError as error:
        return _refuse(wrong_settings(error))
    except CannotStart as reason:
        return _refuse(reason)


def _refuse(reason: CannotStart) -> int:
    sys.stderr.write(f"{reason}\n")
    return 1


async def _run(settings: EmbeddedSettings, token: str, table: Table) -> int:
    stop, firm = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (firm if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    supervisor = Supervisor(
        table(settings, token), env=environment(settings), logs=settings.home / "logs", grace_seconds=settings.grace_seconds
    )
    asked = asyncio.create_task(stop.wait(), name="signal")
    life = asyncio.create_task(_live(supervisor, settings, token), name="supervisor")
    try:
        await asyncio.wait([asked, life], return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            life.result()
    finally:
        log.info("stopping")
        asked.cancel()
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError, CannotStart):
            await life
        await supervisor.stop(firm)
        log.info("stopped")
    return 0


async def _live(supervisor: Supervisor, settings: EmbeddedSettings, token: str) -> None:
    await supervisor.start()
    host, _, port = settings.gateway_address.rpartition(":")
    sys.stdout.write(f"address http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}\ntoken {token}\n")
    sys.stdout.flush()
    await supervisor.watch()


if __name__ == "__main__":
    sys.exit(main())
