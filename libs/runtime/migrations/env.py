"""Alembic's environment; the connection and the metadata come from ``libs.runtime.migrations``."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from libs.runtime.migrations import is_declared
from libs.runtime.tables import UtcDateTime


def render_item(kind: str, item: Any, _autogen: AutogenContext) -> str | Literal[False]:
    """Versions name plain SQLAlchemy types, so that they still run when our types have moved on."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and type(item).__module__.startswith("sqlmodel"):
        return f"sa.String(length={item.length})" if item.length else "sa.String()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    render_item=render_item,
    include_name=is_declared,
    render_as_batch=True,
    compare_type=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
