"""``python -m deploy.probe dataset``: exit code 0 when the process beside it, in the same container, answers as healthy."""

import asyncio
import sys

from deploy.embedded import health
from deploy.embedded.settings import SERVICES
from libs.runtime.settings import ServiceSettings


def main(arguments: list[str]) -> int:
    """Ask the named process at the address that its settings give it."""
    match arguments:
        case ["gateway"]:
            question = health.http(ServiceSettings().gateway_address, "/healthz")
        case [name] if name in SERVICES:
            settings = ServiceSettings()
            question = health.grpc_service(getattr(settings, f"{name}_address"), settings.tls)
        case _:
            sys.stderr.write(f"usage: python -m deploy.probe {{{','.join((*SERVICES, 'gateway'))}}}\n")
            return 2
    return 0 if asyncio.run(question) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
