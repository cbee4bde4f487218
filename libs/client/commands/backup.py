"""`inkctl backup` and `inkctl restore`: on the machine of the installation, whether it runs or not."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[Path | None, typer.Option(envvar="INKWRIGHT_HOME", help="The installation's folder; default: ~/.inkwright.")]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it holds the installation's key, so keep it as safe.")],
    home: HomeOption = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; read FILE and say whether it is whole.")] = False,
) -> None:
    """Write everything an installation keeps into one file, while it runs. Images and their label files stay where they are."""
    _run("check" if check else "backup", file, home)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `inkctl backup` wrote.")],
    home: HomeOption = None,
) -> None:
    """Restore a backup into an empty folder; `make run` with that INKWRIGHT_HOME then starts it."""
    _run("restore", file, home)


def _run(command: str, file: Path, home: Path | None) -> None:
    # A program of its own: clients know no services. -P: a folder called deploy where the person stands is not meant.
    where = [] if home is None else ["--home", str(home)]
    raise SystemExit(
        subprocess.run([sys.executable, "-P", "-m", "deploy.backup", command, *where, "--", str(file)], check=False).returncode
    )
