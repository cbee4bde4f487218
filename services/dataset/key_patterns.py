"""Conditions on keys that PostgreSQL and SQLite understand alike: letters count as they are written, nothing is special by accident."""

from typing import Any

from sqlalchemy import ColumnElement, func


def begins_with(key: Any, prefix: str) -> ColumnElement[bool]:
    """Keys with this prefix; an index on keys narrows it down to them."""
    condition: ColumnElement[bool] = (key >= prefix) & (func.substr(key, 1, len(prefix)) == prefix)
    last = prefix[-1] if prefix else ""
    # The next code point, the surrogates left out: the database cannot be asked for half a character.
    after = {"\ud7ff": "\ue000", "\U0010ffff": ""}.get(last, chr(ord(last) + 1) if last else "")
    return condition & (key < prefix[:-1] + after) if after else condition


def matches(key: Any, glob: str, *, dialect: str) -> ColumnElement[bool]:
    """Keys that match as a whole: ``*`` is any characters, ``/`` too, ``?`` one, everything else itself.

    Args:
        dialect: ``postgresql`` or ``sqlite``.
    """
    if dialect == "postgresql":
        escaped = "".join(f"\\{letter}" if letter in "%_\\" else letter for letter in glob)
        liked: ColumnElement[bool] = key.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")
        return liked
    # SQLite's LIKE takes small and capital letters for the same, its GLOB does not.
    globbed: ColumnElement[bool] = key.op("GLOB", is_comparison=True)(glob.replace("[", "[[]"))
    return globbed
