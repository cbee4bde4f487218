"""Runs ``buildah``, which builds images as root without a daemon; its storage is a folder of ours."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class CannotBuild(Exception):
    """What is missing, or what the build said last."""


@dataclass(frozen=True)
class Buildah:
    """Images in one folder.

    Args:
        folder: of images and containers; every layer is a whole copy there.
    """

    folder: Path

    def run(self, *arguments: str, show: bool = False) -> str:
        """Run one command; what it prints, or ``""`` where it is shown as it comes.

        Raises:
            CannotBuild: it failed, or is not installed.
        """
        if shutil.which("buildah") is None:
            raise CannotBuild("buildah is not installed: apt-get install buildah debootstrap")
        where = ("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run"), "--storage-driver", "vfs")
        done = subprocess.run(["buildah", *where, *arguments], stdout=None if show else subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise CannotBuild(f"buildah {' '.join(arguments)} failed")
        return (done.stdout or "").strip()

    def has(self, image: str) -> bool:
        """Whether there is an image of this name."""
        return any(image in (one.get("names") or ()) for one in json.loads(self.run("images", "--json") or "null") or ())

    def config(self, image: str) -> dict[str, Any]:
        """What an image says about itself: ``Env``, ``Entrypoint``, ``User`` …"""
        config: dict[str, Any] = json.loads(self.run("inspect", "--type", "image", image))["Docker"]["config"]
        return config

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The root of a container made from an image, gone afterwards."""
        container = self.run("from", "--pull-never", image)
        try:
            yield Path(self.run("mount", container))
        finally:
            self.run("rm", container)

    def build(self, dockerfile: Path, target: str, image: str, *, context: Path, options: Sequence[str]) -> None:
        """Build one target; stages that several share are built once.

        Raises:
            CannotBuild: a step failed; it has printed why.
        """
        # Docker's format: the other one has no place for a health check.
        fixed = ("--isolation", "chroot", "--format", "docker", "--layers", "--file", str(dockerfile))
        self.run("bud", *fixed, "--target", target, "--tag", image, *options, str(context), show=True)
