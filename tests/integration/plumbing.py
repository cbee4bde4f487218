"""A service with nothing but plumbing: one table, one unit of work. Its facts are well-known protobuf types."""

from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from libs.runtime.db import Database, UnitOfWork
from libs.runtime.tables import add_plumbing


class Table(SQLModel, registry=registry()):
    """Base of the rows."""


METADATA = add_plumbing(Table.metadata)


class NoteRow(Table, table=True):
    """One note."""

    __tablename__ = "note"

    id: str = Field(primary_key=True)
    text: str


class NoteWork(UnitOfWork):
    """Tells facts as if it were the dataset service."""

    service = "dataset"
    metadata = METADATA


async def open_database(url: str) -> Database:
    """A database with the tables."""
    database = Database(url)
    async with database.writing() as connection:
        await connection.run_sync(METADATA.create_all)
    return database
