"""Checks of the databases: reachable, and at a version this program knows."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError

from deploy.doctor.finding import Finding, fail, ok, warn
from deploy.embedded.settings import SERVICES
from libs.runtime.db import Database
from libs.runtime.migrations import revisions
from libs.runtime.settings import ServiceSettings

_QUERY = "SELECT version_num FROM alembic_version"


def databases(settings: ServiceSettings) -> Iterator[Finding]:
    """One line for each service."""
    yield from asyncio.run(_all(settings))


async def _all(settings: ServiceSettings) -> list[Finding]:
    urls: dict[str, str] = {}
    for service in (*SERVICES, "gateway"):
        url = getattr(settings, f"{service}_database_url") or f"sqlite+aiosqlite:///{settings.home / 'db' / service}.sqlite"
        urls[service] = url
    return [await database_finding(service, url) for service, url in urls.items()]


async def database_finding(service: str, url: str) -> Finding:
    """Of one service's database."""
    what, address = f"{service} database", make_url(url)
    shown = address.render_as_string(hide_password=True)
    try:
        if address.get_backend_name() == "sqlite":
            found = await asyncio.to_thread(_sqlite_revision, Path(address.database or ""))
        else:
            found = await _revision(url)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        reason = str(error).splitlines()[0]
        return fail(
            what, f"{shown} cannot be read: {reason}", f"See that the server runs and INKWRIGHT_{service.upper()}_DATABASE_URL is right."
        )
    known = revisions(service)
    if found is None:
        return ok(what, f"{shown} holds nothing yet: its tables are made at the first start")
    if found not in known:
        remedy = "Install the version of Inkwright that wrote it, or a newer one: this one would not understand its tables."
        return fail(what, f"{shown} is at version {found}, this program knows {known[0]} to {known[-1]}", remedy)
    if found != known[-1]:
        return warn(what, f"{shown} is at version {found} of {known[-1]}", "The next start migrates it; make a backup before.")
    return ok(what, f"{shown}, version {found}")


def _sqlite_revision(file: Path) -> str | None:
    if not file.exists():
        return None
    # Read-only, and not through our engine, which would make the file and change its settings.
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        has_table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute(_QUERY).fetchone() if has_table else None
        return str(row[0]) if row else None
    finally:
        connection.close()


async def _revision(url: str) -> str | None:
    database = Database(url)
    try:
        async with database.reading() as connection:
            has_table = (await connection.execute(text("SELECT to_regclass('alembic_version')"))).scalar()
            return (await connection.execute(text(_QUERY))).scalar() if has_table else None
    finally:
        await database.close()
