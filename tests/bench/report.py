"""Where figures go: one JSON file for programs and one Markdown table for people, with command, date and hardware."""

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"

_EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""What decides in which precision a network runs fast."""


@dataclass(frozen=True)
class Table:
    """Rows below their headings; a cell that is None was not measured."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def markdown(self) -> str:
        """As GitHub shows it."""
        lines = [self.columns, ["---"] * len(self.columns), *[["" if cell is None else str(cell) for cell in row] for row in self.rows]]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Report:
    """A benchmark's answer.

    Args:
        name: of its files, after the date.
        title: says what was measured.
        command: what to type for the same figures; without paths of this machine, see ``shown``.
        tables: for people.
        figures: everything that was measured, for programs.
        remarks: what a reader of the tables should know.
    """

    name: str
    title: str
    command: str
    tables: Sequence[Table]
    figures: Mapping[str, object]
    remarks: Sequence[str] = ()

    def write(self, folder: Path = RESULTS) -> Path:
        """Write both files, print the tables, return the path of the Markdown file; figures of the same name and day are replaced."""
        now = datetime.datetime.now(datetime.UTC)
        machine = hardware()
        about = f"{now:%Y-%m-%d %H:%M} UTC · {machine.cpu}, {machine.cores} cores, {' '.join(machine.extensions)}"
        parts = [f"# {self.title}", f"`{self.command}`", about, *[table.markdown() for table in self.tables]]
        if self.remarks:
            parts.append("\n".join(f"- {remark}" for remark in self.remarks))
        text = "\n\n".join(parts) + "\n"
        record = {"command": self.command, "date": now.isoformat(timespec="seconds"), "hardware": asdict(machine), "figures": self.figures}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{now:%Y-%m-%d}-{self.name}.md"
        path.write_text(text, encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(text)
        return path


def shown(path: Path) -> str:
    """A path as a report may say it: from the checkout, or its last two parts below ``$DATA``."""
    resolved = path.expanduser().resolve()
    if resolved.is_relative_to(CHECKOUT):
        return str(resolved.relative_to(CHECKOUT))
    return "/".join(("$DATA", *resolved.parts[1:][-2:]))


def command_line(target: str, **variables: Path | str | int | None) -> str:
    """``make target NAME=value …``; variables that are None, empty or 0 were not given."""
    given = {name: shown(value) if isinstance(value, Path) else value for name, value in variables.items()}
    return " ".join(["make", target, *[f"{name}={value}" for name, value in given.items() if value]])


def name_of_data(folder: Path) -> str:
    """What a report on a folder is called: the folder's name, before it that of the data set it is a part of."""
    resolved = folder.expanduser().resolve()
    return resolved.parent.name if resolved.name in {"train", "dev", "test", "val"} else resolved.name


@dataclass(frozen=True)
class Hardware:
    """What figures were measured on."""

    cpu: str
    cores: int
    extensions: tuple[str, ...]
    system: str
    python: str


def hardware() -> Hardware:
    """This machine."""
    said: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        said.setdefault(name.strip(), value.strip())
    flags = said.get("flags", "").split()
    return Hardware(
        cpu=said.get("model name", ""),
        cores=os.cpu_count() or 1,
        extensions=tuple(flag for flag in _EXTENSIONS if flag in flags),
        system=platform.platform(),
        python=platform.python_version(),
    )
