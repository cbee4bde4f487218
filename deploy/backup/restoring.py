"""Restoring a backup into an empty home, and into empty schemas where PostgreSQL is set."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, MetaData, create_engine, make_url

from deploy.backup import postgresql
from deploy.backup.archive import BackupError, Manifest, extract, sync_folder, verified
from deploy.backup.databases import DATABASES, is_sqlite
from deploy.backup.installation_bus import CONFIG_FILE, bus_elsewhere, has_bus_elsewhere, own_bus
from deploy.backup.streams import load_streams
from deploy.backup.taking import BUNDLES
from deploy.embedded.home import RESTORING, is_held
from libs.runtime import migrations
from libs.runtime.outbox import publish_again
from libs.runtime.tables import add_plumbing
from services.trainer.settings import TrainerSettings

CLOCKS_DIFFER = timedelta(minutes=10)
"""What was published so long before the bus was read is published again as well, as a service's clock may be behind. Who heard it lets it
pass."""


async def restore(settings: TrainerSettings, path: Path) -> Manifest:
    """Put a backup into ``settings.home``. All of it is checked before anything is touched, and a failure leaves what was before.

    Raises:
        BackupError: a backup that is damaged or newer than this program; a home, a schema or a bus that is not empty.
        OSError: no room, no right.
    """
    manifest = verified(path)
    check_databases(settings, manifest)
    with _empty_home(settings.home, manifest) as stage:
        backup, home = stage / "backup", stage / "home"
        extract(path, backup)
        (backup / "home").rename(home)
        bundles = home / settings.artifact_folder.relative_to(settings.home)
        bundles.parent.mkdir(mode=0o700)
        (backup / BUNDLES).mkdir(exist_ok=True, mode=0o700)
        (backup / BUNDLES).rename(bundles)
        (home / settings.restored_mark.relative_to(settings.home)).touch(mode=0o600)
        # Leaving this block commits what was put into schemas of PostgreSQL.
        with ExitStack() as schemas:
            for service in DATABASES:
                _put_database(schemas, settings, manifest, service, backup / "databases", home)
            async with bus_elsewhere(settings) if has_bus_elsewhere(settings) else own_bus(home) as bus:
                await load_streams(bus, backup / "bus", manifest.streams)
            (home / "nats" / CONFIG_FILE).unlink(missing_ok=True)
            for entry in home.iterdir():
                entry.rename(settings.home / entry.name)
            sync_folder(settings.home)
    return manifest


def check_databases(settings: TrainerSettings, manifest: Manifest) -> None:
    """Make sure that the databases can go where the settings say.

    Raises:
        BackupError: a schema this program does not know, another kind of database, or one that is not empty.
    """
    for service in DATABASES:
        copy, url = manifest.databases.get(service), settings.database_url_of(service)
        variable = f"INKWRIGHT_{service.upper()}_DATABASE_URL"
        if copy is None:
            raise BackupError(f"The backup holds no database of {service}; it was made by another version ({manifest.code_version}).")
        if not migrations.knows(service, copy.revision):
            raise BackupError(
                f"The backup's database of {service} has the schema {copy.revision}, which this version does not know; restore it with the"
                f" version that made it ({manifest.code_version}) or a newer one."
            )
        if (copy.kind == "sqlite") != is_sqlite(url):
            wanted = "unset" if copy.kind == "sqlite" else "set"
            raise BackupError(f"The backup's database of {service} is one of {copy.kind}; {wanted} {variable}.")
        if copy.kind == "postgresql":
            postgresql.check_empty(service, make_url(url))
        elif getattr(settings, f"{service}_database_url") is not None:
            raise BackupError(f"SQLite databases are restored into the home; unset {variable}.")


@contextmanager
def _empty_home(home: Path, manifest: Manifest) -> Iterator[Path]:
    """A folder to work in below the home, which makes supervisors keep off. On an error the home is left empty, as it was."""
    if is_held(home):
        raise BackupError(f"Inkwright runs on {home}; stop it, or restore into another folder.")
    existed = home.exists()
    if existed and (not home.is_dir() or any(home.iterdir())):
        raise BackupError(f"{home} is not empty; restore into an empty folder or one that does not exist yet.")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    stage = home / RESTORING
    stage.mkdir(mode=0o700)
    try:
        # Streams are there twice for a while, as a snapshot and as what the server makes of it.
        needed = sum(member.size_bytes * (2 if name.startswith("bus/") else 1) for name, member in manifest.members.items())
        if (free := shutil.disk_usage(home).free) < needed:
            raise BackupError(f"{home} has room for {free:,} bytes, the backup needs {needed:,}.")
        yield stage
    except BaseException:
        for entry in home.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        if not existed:
            home.rmdir()
        raise
    shutil.rmtree(stage)


def _put_database(schemas: ExitStack, settings: TrainerSettings, manifest: Manifest, service: str, folder: Path, home: Path) -> None:
    copy = manifest.databases[service]
    if copy.kind == "sqlite":
        (home / "db").mkdir(exist_ok=True, mode=0o700)
        file = home / "db" / f"{service}.sqlite"
        (folder / file.name).rename(file)
        engine = create_engine(f"sqlite:///{file}")
        with engine.begin() as connection:
            _publish_again(connection, manifest)
        engine.dispose()
        return
    engine = create_engine(make_url(settings.database_url_of(service)), connect_args={"options": "-c timezone=UTC"})
    schemas.callback(engine.dispose)
    connection = schemas.enter_context(engine.begin())
    postgresql.load(service, connection, copy, folder / service)
    _publish_again(connection, manifest)


def _publish_again(connection: Connection, manifest: Manifest) -> None:
    connection.execute(publish_again(add_plumbing(MetaData()), manifest.bus_time - CLOCKS_DIFFER))
