"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How grave it is."""

    OK = "ok"
    WARN = "warn"
    """It works, with something missing or soon to be."""
    FAIL = "fail"
    """Something cannot work."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        what: was looked at, in one or two words.
        said: what is the case.
        remedy: what to do; empty where all is well.
    """

    level: Level
    what: str
    said: str
    remedy: str = ""


def ok(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, what, said)


def warn(what: str, said: str, remedy: str) -> Finding:
    """It works all the same."""
    return Finding(Level.WARN, what, said, remedy)


def fail(what: str, said: str, remedy: str) -> Finding:
    """It cannot work so."""
    return Finding(Level.FAIL, what, said, remedy)
