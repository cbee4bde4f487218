"""Migrations: one alembic environment for all services, versions beside each service.

A service's metadata is ``services.<name>.store:METADATA`` (``gateway.store:METADATA``), its versions lie in
``migrations/versions`` of its package; both are found by name when a command runs, so that this library needs no service.
"""

import importlib
import tempfile
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DatabaseError, OperationalError

from libs.runtime.cannot_start import CannotStart
from libs.runtime.db import Database
from libs.runtime.errors import NoReadyInstance

__all__ = [
    "MigrationsBehind",
    "SchemaNewer",
    "check",
    "is_declared",
    "knows",
    "metadata_of",
    "revision",
    "revisions",
    "upgrade",
    "upgrade_to",
]


SQL_PREFIX = "sql_"
_LOCK_TIMEOUT_SECONDS = 5
"""A change of a table must not queue behind a long transaction: whatever comes after it would wait too. The next start tries again."""
_STATEMENT_TIMEOUT_SECONDS = 900
_DAMAGED = ("file is not a database", "disk image is malformed")
"""What SQLite says."""


class MigrationsBehind(Exception):
    """The versions do not lead to the tables the code declares; the text lists the differences."""


class SchemaNewer(CannotStart):
    """A database that a newer program has migrated; the text says what to do."""


async def upgrade(service: str, url: str) -> None:
    """Bring a service's database to its newest version; does nothing when it is there. Of replicas that start together one does it.

    Args:
        service: ``dataset`` … ``gateway``.
        url: async SQLAlchemy URL; an SQLite file is made, a PostgreSQL schema must be there.

    Raises:
        SchemaNewer: another program, newer than this one, has been there.
        CannotStart: an SQLite file that is damaged, or none.
        NoReadyInstance: the database is away, or refuses.
    """
    try:
        await _with_connection(url, lambda connection: _upgrade(service, connection))
    except OperationalError as error:
        reason = str(error.orig).splitlines()[0]
        raise NoReadyInstance(f"The database of {service} cannot be used: {reason}") from error
    except DatabaseError as error:
        if not any(sign in str(error.orig) for sign in _DAMAGED):
            raise
        raise CannotStart(f"The database of {service} is damaged ({error.orig}). Restore a backup; nothing was changed.") from error


def _upgrade(service: str, connection: Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and not knows(service, current):
        raise SchemaNewer(
            f"The database of {service} has version {current}, this program knows none after {revisions(service)[-1]}: "
            "start the newer program that it was used with, or restore a backup of this one's."
        )
    command.upgrade(_config(service, connection), "head")


def upgrade_to(service: str, connection: Connection, revision: str) -> None:
    """Make the tables as they were at a version, in the caller's transaction.

    Args:
        connection: of an empty database.
        revision: one that ``knows`` knows.
    """
    command.upgrade(_config(service, connection), revision)


def knows(service: str, revision: str) -> bool:
    """Whether a version is one of this program's; a newer program's is not."""
    return revision in revisions(service)


def is_declared(name: str | None, kind: str, _parents: Any) -> bool:
    """Whether the metadata describes a table or index: not those that versions make in plain SQL, whose names begin with ``sql_``."""
    return kind not in ("table", "index") or not (name or "").startswith(SQL_PREFIX)


async def check(service: str) -> None:
    """Migrate an empty SQLite database and compare it with the metadata.

    Raises:
        MigrationsBehind: they differ, or the versions have several heads.
    """
    heads = ScriptDirectory.from_config(_config(service)).get_heads()
    if len(heads) != 1:
        raise MigrationsBehind(f"{service} has {len(heads)} newest versions, it must have one: {sorted(heads)}")

    def compare(connection: Connection) -> None:
        command.upgrade(_config(service, connection), "head")
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "include_name": is_declared}
        )
        differences = compare_metadata(context, metadata_of(service))
        if differences:
            lines = "\n".join(f"  {difference}" for difference in differences)
            raise MigrationsBehind(f"{service}: run `python -m libs.runtime.migrations revision {service} -m WHY` for\n{lines}")

    with tempfile.TemporaryDirectory() as folder:
        await _with_connection(f"sqlite+aiosqlite:///{folder}/empty.sqlite", compare)


async def revision(service: str, message: str) -> None:
    """Write the next version from the difference between the newest one and the metadata.

    Args:
        service: ``dataset`` … ``gateway``.
        message: imperative subject; becomes part of the file's name.
    """
    versions = _versions(service)
    versions.mkdir(parents=True, exist_ok=True)
    number = f"{len(list(versions.glob('[0-9]*.py'))) + 1:04d}"

    def write(connection: Connection) -> None:
        config = _config(service, connection)
        command.upgrade(config, "head")
        command.revision(config, message=message, autogenerate=True, rev_id=number)

    with tempfile.TemporaryDirectory() as folder:
        await _with_connection(f"sqlite+aiosqlite:///{folder}/empty.sqlite", write)


def revisions(service: str) -> list[str]:
    """Every version of a service's tables that this program knows, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config(service)).walk_revisions()][::-1]


def metadata_of(service: str) -> MetaData:
    """The tables a service declares."""
    metadata: MetaData = importlib.import_module(f"{_package(service)}.store").METADATA
    return metadata


def _package(service: str) -> str:
    return "gateway" if service == "gateway" else f"services.{service}"


def _versions(service: str) -> Path:
    package = importlib.import_module(_package(service))
    assert package.__file__ is not None
    return Path(package.__file__).parent / "migrations" / "versions"


def _config(service: str, connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("version_locations", str(_versions(service)))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    attributes: dict[str, Any] = config.attributes
    attributes["connection"] = connection
    attributes["metadata"] = metadata_of(service)
    return config


async def _with_connection(url: str, run: Any) -> None:
    database = Database(url)
    try:
        async with database.alone("migrations"), database.writing() as connection:
            if not database.is_sqlite:
                await connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_SECONDS}s'"))
                await connection.execute(text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT_SECONDS}s'"))
            await connection.run_sync(run)
    finally:
        await database.close()
