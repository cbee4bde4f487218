"""The databases in a backup: all of them as they were at one moment.

What one service commits because of what another committed is in the copy only if its cause is: at the moment of the cut nobody may
write anywhere. Writers wait for as long as it takes to begin a reading transaction on each database: a few milliseconds, at worst a
second for each other database that is busy. Then they go on, and what is copied is what those transactions still see.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import make_url

from deploy.backup.archive import BackupError, DatabaseCopy
from deploy.backup.postgresql import PostgresSource
from deploy.backup.sqlite import SqliteSource
from deploy.embedded.settings import SERVICES
from libs.runtime.settings import ServiceSettings
from libs.runtime.times import utc_now

DATABASES = (*SERVICES, "gateway")
TRIES = 20
BREATH_SECONDS = 0.2


class Source(Protocol):
    """A database that is being copied. Used in this order, then closed."""

    def hold(self) -> bool:
        """Keep every writer out; ``False`` when one would not end within a moment."""
        ...

    def begin(self) -> None:
        """Begin to read what was committed until now."""
        ...

    def release(self) -> None:
        """Let writers go on."""
        ...

    def copy(self, folder: Path) -> DatabaseCopy:
        """Write what is read into files below ``folder``, an empty one."""
        ...

    def texts(self, query: str) -> list[str]:
        """The first column of what is read."""
        ...

    def close(self) -> None:
        """Let everything go."""
        ...


@contextmanager
def cut(settings: ServiceSettings) -> Iterator[tuple[datetime, Mapping[str, Source]]]:
    """The databases of an installation as they were at one moment, aware UTC.

    Raises:
        BackupError: there is none, it does not answer, or writers do not let go.
    """
    with ExitStack() as stack:
        sources: dict[str, Source] = {}
        for service in DATABASES:
            sources[service] = open_source(service, settings.database_url_of(service))
            stack.callback(sources[service].close)
        yield _cut(list(sources.values())), sources


def open_source(service: str, url: str) -> Source:
    """A service's database.

    Raises:
        BackupError: there is none, or it does not answer.
    """
    parsed = make_url(url)
    return SqliteSource(service, Path(parsed.database or "")) if is_sqlite(url) else PostgresSource(service, parsed)


def is_sqlite(url: str) -> bool:
    """Whether a URL names a file."""
    return make_url(url).get_backend_name() == "sqlite"


def _cut(sources: Sequence[Source]) -> datetime:
    for _ in range(TRIES):
        held: list[Source] = []
        try:
            # No unit of work touches two databases, so holding several of them at once ties no knot.
            for source in sources:
                if not source.hold():
                    break
                held.append(source)
            else:
                for source in sources:
                    source.begin()
                return utc_now()
        finally:
            for source in held:
                source.release()
        time.sleep(BREATH_SECONDS)
    raise BackupError("The databases are never free for the moment that a backup needs; try again when there is less to do.")
