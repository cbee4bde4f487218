"""The two homes a service's data can have. What asks for one of these fixtures runs on both."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.postgres import Postgres, postgres_server

SERVICES = ("dataset", "labeling", "trainer", "inference", "gateway")


@dataclass(frozen=True)
class Databases:
    """Empty databases, one for each service; SQLite's files lie in ``folder``."""

    folder: Path
    postgres: Postgres | None = None
    name: str = ""

    def url(self, service: str = "dataset") -> str:
        """What a service is told."""
        if self.postgres is None:
            return f"sqlite+aiosqlite:///{self.folder}/{service}.sqlite"
        return self.postgres.url(service, self.name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of this process."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module", params=["local", "oss"])
def storage(request: pytest.FixtureRequest) -> str:
    """Where images lie: what asks for it runs on both. ``ON_LOCAL`` narrows that."""
    kind: str = request.param
    return kind


ON_LOCAL = pytest.mark.parametrize("storage", ["local"], indirect=True, scope="module")
"""Of a test about folders and their paths."""
ON_OSS = pytest.mark.parametrize("storage", ["oss"], indirect=True, scope="module")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--every-database``: tests whose time goes into training and starting instances run on PostgreSQL too."""
    parser.addoption("--every-database", action="store_true", help="run the long tests on PostgreSQL as well")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On what the tests of a module run; all of them on the one, then on the other."""
    kinds = ["sqlite", "postgresql"]
    if "database_kind" in metafunc.fixturenames:
        is_short = "long_databases" not in metafunc.fixturenames
        metafunc.parametrize(
            "database_kind", kinds if is_short or metafunc.config.getoption("every_database") else kinds[:1], scope="module"
        )


@pytest.fixture
def databases(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Databases]:
    """Databases for one test; services that are started in it use them."""
    with _databases(database_kind, request, tmp_path) as found:
        yield found


@pytest.fixture
def long_databases(databases: Databases) -> Databases:
    """The same for tests that take long for other reasons; on PostgreSQL only when asked for."""
    return databases


@pytest.fixture
def shared_databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Databases]:
    """Databases that several processes of a service may use: PostgreSQL's alone."""
    with _databases("postgresql", request, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def module_databases(database_kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """The same for all tests of a module."""
    with _databases(database_kind, request, tmp_path_factory.mktemp("databases")) as found:
        yield found


@contextmanager
def _databases(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Databases]:
    if kind == "sqlite":
        # Services put their files into their own home.
        yield Databases(folder)
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.new_database()
    found = Databases(folder, server, name)
    with pytest.MonkeyPatch.context() as patch:
        for service in SERVICES:
            patch.setenv(f"INKWRIGHT_{service.upper()}_DATABASE_URL", found.url(service))
        yield found
    server.drop_database(name)
