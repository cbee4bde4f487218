"""What pip on this machine is told about where packages come from, told to a build as well."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

KEYS = ("index-url", "extra-index-url", "find-links", "cert")


def pip_options() -> list[str]:
    """Options of ``buildah bud``: build arguments, and folders of this machine that they name."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    return options_of(listed)


def options_of(listed: str) -> list[str]:
    """The same from what ``pip config list`` prints; the environment, which comes before files there, wins."""
    told: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in KEYS:
            told.setdefault(key, value.strip("'\""))
    options = [f"--build-arg=PIP_{key.upper().replace('-', '_')}={value}" for key, value in told.items()]
    folders = {folder for key, value in told.items() for word in value.split() for folder in _local(key, word)}
    return options + [f"--volume={folder}:{folder}:ro" for folder in sorted(folders)]


def _local(key: str, word: str) -> Iterator[Path]:
    url = urlsplit(word)
    path = Path(unquote(url.path))
    if url.scheme in ("", "file") and path.exists():
        # The pages of an index lead to files beside it.
        yield path.parent if key.endswith("index-url") else path
