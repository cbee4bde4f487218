"""A base image where no registry is reached: Debian with its own Python, by ``debootstrap``."""

import os
import shutil
import subprocess

from deploy.images.buildah import Buildah, CannotBuild

BASE = "localhost/inkwright-base:bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"


def base_image(buildah: Buildah) -> str:
    """The name of the base; made at the first call.

    Raises:
        CannotBuild: not root, or a tool is missing, or the packages cannot be had.
    """
    if buildah.has(BASE):
        return BASE
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise CannotBuild("a base is made as root and with debootstrap: apt-get install buildah debootstrap; or name one with BASE=")
    container = buildah.run("from", "scratch")
    try:
        root = buildah.run("mount", container)
        made = subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root], check=False)
        if made.returncode != 0:
            raise CannotBuild("debootstrap failed")
        for folder in ("var/lib/apt/lists", "var/cache/apt"):
            shutil.rmtree(f"{root}/{folder}")
            os.mkdir(f"{root}/{folder}")
        buildah.run("commit", "--quiet", container, BASE)
    finally:
        buildah.run("rm", container)
    return BASE
