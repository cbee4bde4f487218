"""Three servers of NATS that are one cluster."""

from pathlib import Path

from libs.runtime.testing import free_port


def configurations(folder: Path) -> list[tuple[int, Path]]:
    """Ports and files of three servers that know each other."""
    ports = [(free_port(), free_port()) for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{route}"' for _, route in ports)
    made = []
    for number, (port, route) in enumerate(ports):
        path = folder / f"nats-{number}.conf"
        path.write_text(
            f"""listen: "127.0.0.1:{port}"
server_name: "n{number}"
jetstream {{
  store_dir: "{folder}/store-{number}"
  sync_interval: always
}}
cluster {{
  name: "inkwright"
  listen: "127.0.0.1:{route}"
  routes: [{routes}]
}}
"""
        )
        made.append((port, path))
    return made
