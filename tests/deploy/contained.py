"""An image's process, started as a cluster starts it: read-only root, its user, only home and /tmp to write to.

No engine is needed: a mount namespace of its own and ``chroot`` do what matters here. The network is this machine's.
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

STOP_SECONDS = 30.0

_SCRIPT = """
set -eu
root=$1 home=$2 roots=$3 user=$4
shift 4
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$home" "$root/var/lib/inkwright"
mount --bind "$roots" "$root/roots"
exec chroot --userspec="$user" --groups= "$root" /usr/bin/env -i "$@"
"""


@dataclass
class Contained:
    """One image, with what it is told beyond itself.

    Args:
        root: of a container made from the image.
        config: the image's own.
        home: what its home will be.
        roots: what /roots will be.
        env: wins over the image's.
    """

    root: Path
    config: Mapping[str, Any]
    home: Path
    roots: Path
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, log: IO[bytes], *arguments: str) -> None:
        """Start its entry point."""
        user, group = map(int, self.config["User"].split(":"))
        self.home.mkdir(exist_ok=True)
        os.chown(self.home, user, group)
        self.process = subprocess.Popen(self._command([*self.config["Entrypoint"], *arguments]), stdout=log, stderr=log)

    def ask(self, command: Sequence[str]) -> int:
        """Run another command in an equal container, and give its exit status."""
        return subprocess.run(self._command(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode

    def is_healthy(self) -> bool:
        """What the image's own health check says."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.ask(command) == 0

    def stop(self) -> int | None:
        """End it as an engine would, and give its exit status; ``None`` when it had to be killed."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def _command(self, command: Sequence[str]) -> list[str]:
        told = dict(pair.split("=", 1) for pair in self.config["Env"]) | dict(self.env)
        env = [f"{name}={value}" for name, value in told.items()]
        arguments = [str(self.root), str(self.home), str(self.roots), self.config["User"], *env, *command]
        return ["unshare", "--mount", "sh", "-c", _SCRIPT, "sh", *arguments]


def packages(root: Path) -> set[str]:
    """Names of the Python distributions in an image, in small letters."""
    return {re.split(r"-\d", path.name)[0].lower() for path in root.glob("opt/inkwright/lib/python3*/site-packages/*.dist-info")}


def size_mb(root: Path) -> int:
    """What an image takes, in MB."""
    return round(sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6)
