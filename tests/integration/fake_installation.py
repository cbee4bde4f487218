"""The supervisor with a table of its own: the real bus, two fake services, a fake gateway.

``python -m tests.integration.fake_installation [broken | refusing | stuck FOLDER]``
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deploy.embedded import __main__ as supervisor
from deploy.embedded import health
from deploy.embedded.processes import Process, Stage, processes
from deploy.embedded.settings import EmbeddedSettings

GATEWAY = """
import http.server, os, sys
host, port = os.environ["INKWRIGHT_GATEWAY_ADDRESS"].rsplit(":", 1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["INKWRIGHT_TOKEN"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
print("gateway begins", file=sys.stderr, flush=True)
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


REFUSING = """
import sys, time
print('{"level":"critical","event":"service_cannot_start","reason":"The key is damaged.","exception":"Traceback"}', file=sys.stderr)
sys.exit(78)
"""
STUCK = """
import os, pathlib, sys, time
with (pathlib.Path(sys.argv[1]) / "starts").open("a") as starts:
    starts.write("x")
print("[1] [ERR] JetStream failed to store a msg on stream: write 1.blk: no space left on device", file=sys.stderr, flush=True)
time.sleep(600)
"""


async def nothing_wrong() -> bool:
    """A health check."""
    return True


def service(name: str, address: str) -> Process:
    """A fake service at its address."""
    argv = (sys.executable, "-m", "tests.integration.fake_service", name)
    return Process(name, Stage.SERVICE, argv, lambda: health.grpc_service(address))


def table(settings: EmbeddedSettings, token: str) -> Sequence[Process]:
    """The bus of the real table and fakes for the rest."""
    bus, *_ = processes(settings, token)
    gateway = Process(
        "gateway",
        Stage.GATEWAY,
        (sys.executable, "-c", GATEWAY),
        lambda: health.http(settings.gateway_address, "/healthz"),
        {"INKWRIGHT_TOKEN": token},
    )
    if "refusing" in sys.argv:
        refusing = (sys.executable, "-c", REFUSING)
        return [bus, Process("trainer", Stage.SERVICE, refusing, lambda: health.grpc_service(settings.trainer_address))]
    if "stuck" in sys.argv:
        folder = Path(sys.argv[-1])
        argv = (sys.executable, "-c", STUCK, str(folder))
        stuck = replace(bus, argv=argv, is_healthy=nothing_wrong, can_go_on=(folder / "room").exists)
        return [stuck, gateway]
    if "broken" in sys.argv:
        broken = (sys.executable, "-c", "raise SystemExit('the model folder is empty')")
        return [bus, Process("trainer", Stage.SERVICE, broken, lambda: health.grpc_service(settings.trainer_address))]
    return [bus, service("dataset", settings.dataset_address), service("labeling", settings.labeling_address), gateway]


if __name__ == "__main__":
    sys.exit(supervisor.main(table))
