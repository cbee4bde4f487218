"""Run a command with an OSS beside it: ``python -m tests.oss_server FOLDER -- COMMAND…``.

Each folder in FOLDER is a bucket. The command finds ``INKWRIGHT_OSS_CONNECTIONS`` set, with this server as the default connection.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.oss_server import FolderObjects, oss_server
from tests.oss_server.connections import write_connections


def main() -> int:
    """Gives the command's exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.oss_server", description="Run a command with an OSS beside it.")
    parser.add_argument("folder", type=Path, help="its folders are buckets")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    given = parser.parse_args()
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        parser.error("give a command")
    with oss_server() as server, tempfile.TemporaryDirectory(prefix="inkwright-oss-") as folder:
        for bucket in given.folder.iterdir():
            server.new_bucket(bucket.name, FolderObjects(bucket))
        connections = write_connections(Path(folder) / "oss.toml", default=server.connection())
        environment = os.environ | {"INKWRIGHT_OSS_CONNECTIONS": str(connections)}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
