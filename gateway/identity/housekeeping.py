"""Takes away ended sessions and old lines of the audit log."""

import asyncio
import contextlib
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from gateway.store import Work
from libs.runtime.errors import Fault
from libs.runtime.logs import get_logger

log = get_logger()

EVERY_SECONDS: Final = 3600.0


class Housekeeping:
    """A loop of the gateway.

    Args:
        work: units of work.
        audit_days: how long lines of the audit log are kept.
    """

    name = "housekeeping"

    def __init__(self, work: Work, *, audit_days: float) -> None:
        self._work = work
        self._audit_days = audit_days

    async def run(self, stopping: asyncio.Event) -> None:
        """Once an hour until ``stopping`` is set."""
        while not stopping.is_set():
            try:
                async with self._work() as w:
                    await w.forget(audit_days=self._audit_days)
                    await w.commit()
            except (Fault, SQLAlchemyError, TimeoutError) as error:
                log.warning("housekeeping_waits", error=repr(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS):
                    await stopping.wait()
