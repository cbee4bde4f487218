"""A file of connections to OSS as an operator writes it."""

import json
from collections.abc import Mapping
from pathlib import Path


def write_connections(path: Path, **connections: Mapping[str, object]) -> Path:
    """One table for each connection; closed to other accounts."""
    tables = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        for name, settings in connections.items()
    ]
    path.touch(mode=0o600)
    path.write_text("\n".join(tables))
    return path
