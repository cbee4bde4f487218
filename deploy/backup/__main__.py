"""``python -m deploy.backup backup FILE | check FILE | restore FILE [--home FOLDER]``: what ``inkctl backup`` and ``inkctl restore`` run.

Exit codes: 0 done; 1 refused, nothing was left behind; 2 wrong usage; 4 a backup was written, but not all of it could be kept.
"""

import argparse
import asyncio
import signal
import sqlite3
import sys
from pathlib import Path

import nats.errors
import psycopg
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from deploy.backup.archive import BackupError, Manifest, verified
from deploy.backup.restoring import restore
from deploy.backup.taking import take
from libs.runtime.logs import configure_logs
from services.trainer.settings import TrainerSettings

OK, REFUSED, INCOMPLETE = 0, 1, 4


def main() -> int:
    """The command."""
    arguments = _arguments()
    configure_logs("backup", level="error", log_format="console")
    # Ends as Ctrl-C does, so that what is half written is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = TrainerSettings(**({"home": arguments.home} if arguments.home else {}))
        settings = settings.model_copy(update={"home": settings.home.expanduser().absolute()})
        return _run(arguments.command, settings, arguments.file.expanduser().absolute())
    except (BackupError, ValidationError) as error:
        message = " ".join(str(error).split())
    except OSError as error:
        message = f"{error.filename or arguments.file}: {error.strerror or error}"
    except (sqlite3.Error, psycopg.Error, SQLAlchemyError, nats.errors.Error) as error:
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    except KeyboardInterrupt:
        message = "stopped; nothing was left behind"
    sys.stderr.write(f"error: {message}\n")
    return REFUSED


def _run(command: str, settings: TrainerSettings, file: Path) -> int:
    match command:
        case "backup":
            manifest = asyncio.run(take(settings, file))
            sys.stdout.write(f"{file}: {file.stat().st_size:,} bytes, {_described(manifest)}\n")
            for problem in manifest.problems:
                sys.stderr.write(f"not kept: {problem}\n")
            return INCOMPLETE if manifest.problems else OK
        case "check":
            sys.stdout.write(f"{file} is whole: {_described(verified(file))}\n")
        case _:
            manifest = asyncio.run(restore(settings, file))
            sys.stdout.write(f"{settings.home} is restored: {_described(manifest)}\n")
    return OK


def _described(manifest: Manifest) -> str:
    num_models = sum(name.startswith("bundles/") for name in manifest.members)
    num_messages = sum(int(stream["state"].get("messages", 0)) for stream in manifest.streams.values())
    return (
        f"everything committed until {manifest.cut_time:%Y-%m-%d %H:%M:%S} UTC; {len(manifest.databases)} databases, {num_models} bundles,"
        f" {num_messages:,} messages of the bus; made by version {manifest.code_version}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.backup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("backup", "write a backup"), ("check", "verify a backup"), ("restore", "restore a backup into an empty home")):
        command = commands.add_parser(name, help=text)
        command.add_argument("file", type=Path)
        command.add_argument("--home", type=Path, help="instead of INKWRIGHT_HOME")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
