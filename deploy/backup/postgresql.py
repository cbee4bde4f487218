"""A service's PostgreSQL schema in a backup: the rows of each table by COPY, read in one transaction.

No program of a certain version is needed, and the role of the service is enough: it owns nothing but its schema. Tables are made by
the migrations when the rows go back, so a backup says which revision it was taken at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, MetaData, create_engine

from deploy.backup.archive import BackupError, DatabaseCopy
from libs.runtime import migrations

CONNECT_SECONDS = 5
HOLD_MILLISECONDS = 500
"""Below the second after which the server looks for deadlocks: it is the backup that gives way, not a service."""
VERSIONS: Final = "alembic_version"

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
_COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = current_schema() AND last_value IS NOT NULL"
_PIECE_BYTES = 1024 * 1024


class PostgresSource:
    """See ``databases.Source``.

    Raises:
        BackupError: the server does not let us in.
    """

    def __init__(self, service: str, url: URL) -> None:
        self._service = service
        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            self._holder = psycopg.connect(address, connect_timeout=CONNECT_SECONDS)
            self._reader = psycopg.connect(address, connect_timeout=CONNECT_SECONDS)
        except psycopg.Error as error:
            raise self._broken(error) from error
        self._reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._reader.read_only = True

    def hold(self) -> bool:
        """See ``databases.Source``."""
        try:
            self._holder.execute(f"SET LOCAL lock_timeout = {HOLD_MILLISECONDS}")
            tables = [sql.Identifier(name) for [name] in self._holder.execute(_TABLES)]
            if tables:
                self._holder.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.SQL(", ").join(tables)))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            self._holder.rollback()
            return False
        except psycopg.Error as error:
            raise self._broken(error) from error
        return True

    def begin(self) -> None:
        """See ``databases.Source``."""
        try:
            # The transaction sees what there is at its first statement.
            self._reader.execute("SELECT 1")
        except psycopg.Error as error:
            raise self._broken(error) from error

    def release(self) -> None:
        """See ``databases.Source``."""
        self._holder.rollback()

    def copy(self, folder: Path) -> DatabaseCopy:
        """See ``databases.Source``: one file a table, ``<service>/<table>.copy``."""
        (folder / self._service).mkdir()
        try:
            [revision] = self.texts(f"SELECT version_num FROM {VERSIONS}")
            tables = {name: self._columns(name) for name in self.texts(_TABLES) if name != VERSIONS}
            for name, columns in tables.items():
                self._copy_table(name, columns, folder / self._service / f"{name}.copy")
            sequences = {name: self._last_value(name) for name in self.texts(_SEQUENCES)}
        except (psycopg.Error, ValueError) as error:
            raise self._broken(error) from error
        return DatabaseCopy(kind="postgresql", revision=revision, tables=tables, sequences=sequences)

    def texts(self, query: str) -> list[str]:
        """See ``databases.Source``."""
        return [str(value) for value, *_ in self._reader.execute(query.encode())]

    def close(self) -> None:
        """See ``databases.Source``."""
        self._reader.close()
        self._holder.close()

    def _columns(self, table: str) -> list[str]:
        return [str(name) for [name] in self._reader.execute(_COLUMNS, [table])]

    def _last_value(self, sequence: str) -> int:
        [value] = self._reader.execute(sql.SQL("SELECT last_value FROM {}").format(sql.Identifier(sequence))).fetchone() or (0,)
        return int(value)

    def _copy_table(self, table: str, columns: list[str], path: Path) -> None:
        statement = sql.SQL("COPY {} ({}) TO STDOUT").format(sql.Identifier(table), _listed(columns))
        with path.open("wb") as file, self._reader.cursor().copy(statement) as rows:
            for piece in rows:
                file.write(piece)

    def _broken(self, error: Exception) -> BackupError:
        return BackupError(f"The database of {self._service} cannot be copied: {_in_one_line(error)}.")


def check_empty(service: str, url: URL) -> None:
    """Make sure that a schema has no tables.

    Raises:
        BackupError: it has, or the server does not let us in.
    """
    engine = create_engine(url, connect_args={"connect_timeout": CONNECT_SECONDS})
    try:
        with engine.connect() as connection:
            found = [name for [name] in connection.exec_driver_sql(_TABLES)]
    except Exception as error:
        raise BackupError(f"The database of {service} does not answer: {_in_one_line(error)}.") from error
    finally:
        engine.dispose()
    if found:
        raise BackupError(f"The schema of {service} is not empty (it has {', '.join(found[:3])} …); restore into empty ones.")


def load(service: str, connection: Connection, copy: DatabaseCopy, folder: Path) -> None:
    """Make the tables of a schema, empty until now, and put the rows back; the caller commits.

    Raises:
        BackupError: the database refuses something.
    """
    try:
        migrations.upgrade_to(service, connection, copy.revision)
        tables = MetaData()
        tables.reflect(connection)
        driver: Any = connection.connection.dbapi_connection
        # What others refer to comes first.
        for name in [table.name for table in tables.sorted_tables if table.name in copy.tables]:
            _load_table(driver, name, copy.tables[name], folder / f"{name}.copy")
        _count_on(driver, copy.sequences)
    except psycopg.Error as error:
        raise BackupError(f"The database of {service} refuses what was backed up: {_in_one_line(error)}.") from error


def _load_table(connection: psycopg.Connection[Any], table: str, columns: list[str], path: Path) -> None:
    cursor = connection.cursor()
    # Migrations may leave rows of their own.
    cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), _listed(columns))
    with path.open("rb") as file, cursor.copy(statement) as rows:
        while piece := file.read(_PIECE_BYTES):
            rows.write(piece)


def _count_on(connection: psycopg.Connection[Any], sequences: Mapping[str, int]) -> None:
    for name, value in sequences.items():
        connection.execute("SELECT setval(%s::regclass, %s)", [name, value])


def _listed(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
