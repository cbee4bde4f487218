"""The supervisor with a table of its own: the real bus, two fake services, a fake gateway.

``python -m tests.integration.fake_installation [broken]``
"""

import sys
from collections.abc import Sequence

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
    if "broken" in sys.argv:
        broken = (sys.executable, "-c", "raise SystemExit('the model folder is empty')")
        return [bus, Process("trainer", Stage.SERVICE, broken, lambda: health.grpc_service(settings.trainer_address))]
    return [bus, service("dataset", settings.dataset_address), service("labeling", settings.labeling_address), gateway]


if __name__ == "__main__":
    sys.exit(supervisor.main(table))
