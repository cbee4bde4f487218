"""`python -m libs.demo`: what `make demo` runs."""

import argparse
import sys
from pathlib import Path

from libs.client.rest import ApiError, Unreachable
from libs.demo.flow import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m libs.demo", description="The whole flow on generated photographs.")
    parser.add_argument("--images", type=Path, help="folder to put them into, in place of a temporary one")
    parser.add_argument("--path", help="what the dataset calls that folder, for example oss://bucket/prefix/")
    given = parser.parse_args()
    if (given.images is None) != (given.path is None):
        parser.error("--images and --path go together")
    try:
        run(given.images, given.path)
    except (ApiError, Unreachable, RuntimeError) as error:
        sys.exit(f"demo stopped: {error}")
