"""An installation as a cluster has it: replicas of every service in processes of their own, PostgreSQL, three servers of NATS."""

import asyncio
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from deploy.embedded import health
from libs.client.inkwright import Inkwright
from libs.client.rest import RestClient
from libs.demo.installation import Running
from libs.runtime.child import tied_to_this_process
from libs.runtime.nats_binary import nats_server_path
from libs.runtime.testing import can_connect
from tests.full.bus_servers import configurations
from tests.postgres import postgres_server
from tests.trust import keyed

SERVICES: Final = ("dataset", "labeling", "trainer", "inference")
MAX_REPLICAS: Final = 3
TOKEN: Final = "a-token-of-the-tests-alone"
START_SECONDS = 90.0
STOP_SECONDS = 60.0
GRACE_SECONDS = 20.0
"""Longer than by default: two cores start what takes over from three processes that end."""

Place = tuple[str, int]
"""A service and the number of its replica, from 1."""


@dataclass(frozen=True)
class Killed:
    """When a process was killed and when it was gone, by the monotonic clock."""

    began: float
    ended: float


@dataclass
class Cluster:
    """What runs where.

    Args:
        folder: of all state.
        settings: of every process.
        addresses: of each replica there may be, whether it runs or not: callers are told all of them.
    """

    folder: Path
    settings: Mapping[str, str]
    addresses: Mapping[Place, str]
    _processes: dict[Place, "subprocess.Popen[str]"] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Of the gateway."""
        return f"http://{self.addresses['gateway', 1]}"

    def replicas(self, service: str) -> list[int]:
        """Numbers of those that run."""
        return sorted(number for name, number in self._processes if name == service)

    def start(self, *places: Place) -> None:
        """Start them at the same moment and wait until all of them take calls."""
        for place in places:
            self._processes[place] = self._started(place)
        for place in places:
            _wait(lambda place=place: self._is_serving(place), START_SECONDS, f"{place} does not start")

    def stop(self, *places: Place) -> None:
        """End them with SIGTERM at the same moment and wait until they have."""
        ending = {place: self._processes.pop(place) for place in places}
        for process in ending.values():
            process.send_signal(signal.SIGTERM)
        for place, process in ending.items():
            assert process.wait(STOP_SECONDS) == 0, f"{place} ended with {process.returncode}; its log is {self._log(place)}"

    def kill(self, place: Place) -> Killed:
        """Kill -9."""
        process = self._processes.pop(place)
        began = time.monotonic()
        process.kill()
        process.wait()
        return Killed(began, time.monotonic())

    def only(self, service: str, *numbers: int) -> None:
        """Start and stop what it takes to have these replicas of a service and no others."""
        here = self.replicas(service)
        self.start(*((service, number) for number in numbers if number not in here))
        self.stop(*((service, number) for number in here if number not in numbers))

    def lines(self, place: Place) -> list[dict[str, Any]]:
        """What a replica has logged, over all its starts."""
        if not self._log(place).exists():
            return []
        # The last line may still be being written.
        whole, _, _ = self._log(place).read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def num_calls(self, place: Place) -> int:
        """How many calls it has answered."""
        return sum(line["event"] == "call_finished" for line in self.lines(place))

    def ports(self, place: Place) -> set[int]:
        """On which the processes listen that it has started."""
        children = psutil.Process(self._processes[place].pid).children()
        connections = [connection for child in children for connection in _connections(child)]
        return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}

    def close(self) -> None:
        """End everything, the gateway last."""
        self.stop(*(place for place in self._processes if place[0] != "gateway"))
        self.stop(*self._processes)

    @property
    def gateway(self) -> "subprocess.Popen[str]":
        """Its process."""
        return self._processes["gateway", 1]

    def _log(self, place: Place) -> Path:
        return self.folder / "logs" / f"{place[0]}-{place[1]}.log"

    def _started(self, place: Place) -> "subprocess.Popen[str]":
        service, number = place
        # Trainers share one folder; whatever the others keep is theirs alone.
        home = keyed(self.folder / "homes" / (service if service == "trainer" else f"{service}-{number}"))
        own = {"INKWRIGHT_HOME": str(home), f"INKWRIGHT_{service.upper()}_ADDRESS": self.addresses[place]}
        module = "gateway.main" if service == "gateway" else f"services.{service}.main"
        with self._log(place).open("ab") as log:
            command = tied_to_this_process([sys.executable, "-m", module])
            return subprocess.Popen(command, env=os.environ | self.settings | own, stdout=log, stderr=log, text=True)

    def _is_serving(self, place: Place) -> bool:
        process, address = self._processes[place], self.addresses[place]
        assert process.poll() is None, f"{place} ended with {process.returncode}; its log is {self._log(place)}"
        asking = health.http(address, "/healthz") if place[0] == "gateway" else health.grpc_service(address)
        return asyncio.run(asking)


@contextmanager
def cluster(folder: Path, root: Path, *, settings: Mapping[str, str]) -> Iterator[Cluster]:
    """A gateway and one replica of each service.

    Args:
        folder: where its state goes.
        root: where data sets may lie.
        settings: beside those that make it a cluster.
    """
    (folder / "logs").mkdir(parents=True)
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        database = postgres.new_database()
        servers = configurations(folder)
        for _, path in servers:
            stack.enter_context(_nats(path))
        for port, _ in servers:
            _wait(lambda port=port: can_connect(port), START_SECONDS, "NATS does not start")
        places = [*itertools.product(SERVICES, range(1, MAX_REPLICAS + 1)), ("gateway", 1)]
        addresses = dict(zip(places, _addresses(len(places)), strict=True))
        told = {
            "INKWRIGHT_ROOTS": str(root),
            "INKWRIGHT_NATS_URL": ",".join(f"nats://127.0.0.1:{port}" for port, _ in servers),
            "INKWRIGHT_NATS_REPLICAS": str(len(servers)),
            "INKWRIGHT_TOKEN": TOKEN,
            "INKWRIGHT_GRACE_SECONDS": str(GRACE_SECONDS),
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            **{f"INKWRIGHT_{service.upper()}_DATABASE_URL": postgres.url(service, database) for service in (*SERVICES, "gateway")},
            **{f"INKWRIGHT_{service.upper()}_ADDRESS": _several(addresses, service) for service in SERVICES},
        }
        made = Cluster(folder, told | dict(settings), addresses)
        stack.callback(made.close)
        made.start(*((service, 1) for service in SERVICES), ("gateway", 1))
        yield made


@contextmanager
def caller(cluster: Cluster) -> Iterator[Running]:
    """Someone with the management token, in the form in which the end-to-end tests know an installation."""
    rest = RestClient(cluster.url, TOKEN)
    try:
        yield Running(cluster.url, TOKEN, cluster.folder, Inkwright(rest), cluster.gateway)
    finally:
        rest.close()


@contextmanager
def _nats(configuration: Path) -> Iterator[None]:
    command = tied_to_this_process([nats_server_path(), "-c", str(configuration)])
    with configuration.with_suffix(".log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        server.kill()
        server.wait()


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return []


def _several(addresses: Mapping[Place, str], service: str) -> str:
    return ",".join(addresses[service, number] for number in range(1, MAX_REPLICAS + 1))


def _addresses(number: int) -> Sequence[str]:
    """Free ports outside the range from which the kernel takes ports for connections: some stay unused for minutes."""
    found: list[str] = []
    for port in random.sample(range(15000, 32000), 1000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(f"127.0.0.1:{port}")
        if len(found) == number:
            break
    return found


def _wait(check: Any, seconds: float, message: str) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, message
        time.sleep(0.1)
