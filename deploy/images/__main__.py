"""``python -m deploy.images``: build the images of all processes that need no GPU, as root and without an engine."""

import argparse
import sys
import time
from pathlib import Path

from deploy.images.base import base_image
from deploy.images.buildah import Buildah, CannotBuild
from deploy.images.pip_options import pip_options
from libs.runtime.settings import CHECKOUT

TARGETS = ("nats", "dataset", "labeling", "gateway", "inference", "trainer")
FOLDER = CHECKOUT / "build" / "images"


def image_name(target: str, version: str) -> str:
    """The name in the storage."""
    return f"localhost/inkwright/{target}:{version}"


def main() -> int:
    """Build, and say how long each took."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images", description=__doc__)
    parser.add_argument("--into", type=Path, default=FOLDER, help="folder of the storage")
    parser.add_argument("--base", help="image to begin with, from a registry; without it one is made with debootstrap")
    parser.add_argument("--version", default="0.1.0", help="tag of the images")
    parser.add_argument("targets", nargs="*", default=TARGETS, help=f"of {', '.join(TARGETS)}; all by default")
    arguments = parser.parse_args()
    buildah = Buildah(arguments.into)
    try:
        base = arguments.base or base_image(buildah)
        options = [f"--build-arg=BASE={base}", *pip_options()]
        for target in arguments.targets:
            began = time.monotonic()
            dockerfile = CHECKOUT / "deploy" / "images" / "Dockerfile"
            buildah.build(dockerfile, target, image_name(target, arguments.version), context=CHECKOUT, options=options)
            sys.stdout.write(f"{image_name(target, arguments.version)}  {time.monotonic() - began:.0f} s\n")
    except CannotBuild as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
