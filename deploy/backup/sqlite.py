"""An SQLite database in a backup: one file, copied page by page from one reading transaction."""

import sqlite3
from pathlib import Path

from deploy.backup.archive import BackupError, DatabaseCopy

HOLD_SECONDS = 1.0


class SqliteSource:
    """See ``databases.Source``.

    Raises:
        BackupError: there is no such file.
    """

    def __init__(self, service: str, path: Path) -> None:
        self._service = service
        self._path = path
        if not path.is_file():
            raise BackupError(f"There is no database {path}; is INKWRIGHT_HOME the folder of an installation that has run?")
        self._holder = _open(path)
        self._reader = _open(path)

    def hold(self) -> bool:
        """See ``databases.Source``. SQLite has one writer: this becomes it."""
        try:
            self._holder.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise self._broken(error) from error
            return False
        return True

    def begin(self) -> None:
        """See ``databases.Source``."""
        try:
            self._reader.execute("BEGIN")
            # The transaction sees what there is when it reads first.
            self._reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def release(self) -> None:
        """See ``databases.Source``."""
        self._holder.execute("ROLLBACK")

    def copy(self, folder: Path) -> DatabaseCopy:
        """See ``databases.Source``: one file, ``<service>.sqlite``, found to be sound."""
        try:
            [revision] = self.texts("SELECT version_num FROM alembic_version")
            copy = sqlite3.connect(folder / f"{self._service}.sqlite", isolation_level=None)
            try:
                # Within the transaction that has begun, so that it is that moment's pages.
                self._reader.backup(copy)
                [found] = copy.execute("PRAGMA quick_check(1)").fetchone()
            finally:
                copy.close()
        except (sqlite3.Error, ValueError) as error:
            raise self._broken(error) from error
        if found != "ok":
            raise BackupError(f"The database {self._path} is damaged: {found}.")
        return DatabaseCopy(kind="sqlite", revision=revision)

    def texts(self, query: str) -> list[str]:
        """See ``databases.Source``."""
        return [str(value) for value, *_ in self._reader.execute(query)]

    def close(self) -> None:
        """See ``databases.Source``."""
        self._reader.close()
        self._holder.close()

    def _broken(self, error: Exception) -> BackupError:
        return BackupError(f"The database {self._path} cannot be copied: {error}.")


def _open(path: Path) -> sqlite3.Connection:
    # mode=rw: a name that leads nowhere is an error and no new file.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=HOLD_SECONDS, isolation_level=None)
