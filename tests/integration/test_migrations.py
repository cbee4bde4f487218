"""Migrations: written, applied and checked, for a service made up by the test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from libs.runtime import migrations
from libs.runtime.db import Database
from libs.runtime.migrations import MigrationsBehind, SchemaNewer, check, revision, upgrade

STORE = """
from datetime import datetime
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from libs.runtime.tables import UtcDateTime, add_plumbing

class Table(SQLModel, registry=registry()):
    pass

METADATA = add_plumbing(Table.metadata)

class BookRow(Table, table=True):
    __tablename__ = "book"
    id: str = Field(primary_key=True)
    title: str = Field(max_length=100, index=True)
    printed_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The store.py of a service named ``books``."""
    package = tmp_path / "books_service"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "store.py").write_text(STORE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(migrations, "_package", lambda service: f"{service}_service")
    yield package / "store.py"
    forget()


def forget() -> None:
    """Let the next import read the files again."""
    for name in [name for name in sys.modules if name.startswith("books_service")]:
        del sys.modules[name]


def declare(store: Path, text: str) -> None:
    """Change the store as an engineer would between two runs."""
    store.write_text(text)
    forget()


async def columns(url: str, table: str) -> set[str]:
    database = Database(url)
    async with database.reading() as connection:
        found = await connection.run_sync(lambda sync: {column["name"] for column in inspect(sync).get_columns(table)})
    await database.close()
    return found


async def test_a_service_without_versions_is_behind(store: Path) -> None:
    with pytest.raises(MigrationsBehind):
        await check("books")


async def test_a_written_version_makes_the_declared_tables(store: Path, tmp_path: Path) -> None:
    await revision("books", "Begin with books")
    await check("books")
    [version] = (store.parent / "migrations" / "versions").glob("*.py")
    assert version.name == "0001_begin_with_books.py"
    url = f"sqlite+aiosqlite:///{tmp_path}/db/books.sqlite"
    await upgrade("books", url)
    await upgrade("books", url)
    assert await columns(url, "book") == {"id", "title", "printed_time"}
    assert "request_id" in await columns(url, "outbox")
    assert await columns(url, "inbox") == {"durable", "message_id", "heard_time"}


async def test_a_forgotten_column_is_named_and_the_next_version_adds_it(store: Path, tmp_path: Path) -> None:
    await revision("books", "Begin with books")
    url = f"sqlite+aiosqlite:///{tmp_path}/db/books.sqlite"
    await upgrade("books", url)
    declare(store, STORE + "    num_pages: int | None = None\n")
    with pytest.raises(MigrationsBehind, match="num_pages"):
        await check("books")
    forget()
    await revision("books", "Count pages")
    forget()
    await check("books")
    await upgrade("books", url)
    assert await columns(url, "book") == {"id", "title", "printed_time", "num_pages"}


async def test_a_database_of_a_newer_program_is_left_alone(store: Path, tmp_path: Path) -> None:
    await revision("books", "Begin with books")
    url = f"sqlite+aiosqlite:///{tmp_path}/books.sqlite"
    await upgrade("books", url)
    database = Database(url)
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0042'"))
    with pytest.raises(SchemaNewer, match=r"0042.*none after 0001.*newer program"):
        await upgrade("books", url)
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one() == "0042"
    await database.close()
