"""How `inkctl` speaks: tables for people, JSON for programs, one line for a refusal."""

import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NoReturn

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

console = Console(highlight=False)
unfolded = Console(highlight=False, width=10_000)
errors = Console(stderr=True, highlight=False)


class Exit(IntEnum):
    """Exit codes; 2 (wrong usage) is the command line parser's own."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    ENDED_OTHERWISE = 4
    """What was followed ended, but not in success; or something is not well."""


def fail(message: str, code: Exit = Exit.REFUSED, *, reason: str = "") -> NoReturn:
    """Print one line to stderr and leave."""
    errors.print(Text(f"{reason or 'error'}: ", style="bold red") + Text(message, style=""), soft_wrap=True)
    raise SystemExit(int(code))


def print_json(value: Message | Sequence[Message] | object) -> None:
    """Print a message, a list of messages or plain data as indented JSON."""
    plain: object = value
    if isinstance(value, Message):
        plain = as_dict(value)
    elif isinstance(value, list | tuple):
        plain = [as_dict(row) if isinstance(row, Message) else row for row in value]
    sys.stdout.write(orjson.dumps(plain, option=orjson.OPT_INDENT_2).decode() + "\n")


def as_dict(message: Message) -> dict[str, object]:
    """A message as its REST JSON, default values included."""
    plain: dict[str, object] = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return plain


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing here yet") -> None:
    """Print rows below their headings; columns whose cells are numbers stand to the right. Away from a terminal no row is folded."""
    listed = [[str(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(listed) and all(
            row[index].replace(",", "").replace(".", "").lstrip("-").isdigit() or row[index] == "" for row in listed
        )
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*row)
    if not listed:
        console.print(empty)
    elif console.is_terminal:
        console.print(table, markup=False)
    else:
        # What follows in a pipe looks for whole names.
        unfolded.print(table, markup=False)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print name and value pairs, one a line; empty values are left out."""
    shown = [(name, str(value)) for name, value in fields if str(value)]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        console.print(f"{name:<{width}}  {value}", markup=False, soft_wrap=True)


def short(name: str) -> str:
    """Last part of a resource name."""
    return name.rsplit("/", 1)[-1]


def moment(stamp: Timestamp) -> str:
    """A moment for a table; empty for none."""
    return stamp.ToDatetime().strftime("%Y-%m-%d %H:%M") if stamp.seconds else ""


def counted(number: int, one: str, several: str = "") -> str:
    """``1 page``, ``2 pages``; the plural is the singular with an s unless it is given."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def progress_bar(*, known: bool = True) -> Progress:
    """A progress bar on stderr, so that stdout stays the answer's; it shows only on a terminal."""
    amount = MofNCompleteColumn() if known else TaskProgressColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    return Progress(*columns, console=errors, disable=not sys.stderr.isatty())
