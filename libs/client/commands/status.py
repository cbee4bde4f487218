"""`inkctl status` and `inkctl doctor`: how the installation is, from afar and on its own machine."""

import subprocess
import sys
from datetime import UTC, datetime

import typer

from inkwright.gateway.v1 import status_pb2
from libs.client.output import Exit, console, counted, errors, print_json, print_table, short
from libs.client.session import JsonOption, inkwright, refusals_exit

DOCTOR = "deploy.doctor"
"""A program of its own: it knows the services, which the client does not."""


@refusals_exit
def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show services, bus, tasks, deployments and disk; exit code 4 when something is not well."""
    found = inkwright(context).status()
    if as_json:
        print_json(found)
    else:
        show(found)
    if found.problems:
        raise SystemExit(int(Exit.ENDED_OTHERWISE))


def show(found: status_pb2.Status) -> None:
    """Print everything on one screen."""
    rows = [
        (
            row.service,
            "ready" if row.is_ready else "not ready" if row.is_reachable else "away",
            row.version,
            _age(row, found) if row.is_reachable else "",
            row.address,
        )
        for row in found.services
    ]
    print_table(("SERVICE", "IS", "VERSION", "UP", "ADDRESS"), rows)
    console.print()
    bus = found.bus
    if bus.is_connected:
        size = sum(row.size_bytes for row in bus.streams)
        console.print(
            f"bus           nats-server {bus.server_version}, {counted(len(bus.streams), 'stream')}, {_bytes(size)}; "
            f"{counted(bus.num_jobs, 'job')} queued, {counted(bus.num_dead_letters, 'dead letter')}",
            markup=False,
            soft_wrap=True,
        )
        behind = [row for row in bus.consumers if row.num_waiting or row.num_tried_again]
        if behind:
            print_table(
                ("CONSUMER", "WAITING", "IN HAND", "TRIED AGAIN"),
                [(row.durable, row.num_waiting, row.num_in_hand, row.num_tried_again) for row in behind],
            )
    else:
        console.print("bus           away")
    console.print(
        f"disk          {_bytes(found.disk.free_bytes)} free of {_bytes(found.disk.total_bytes)} at {found.disk.path}", markup=False
    )
    console.print(f"tasks         {len(found.tasks) or 'none'}" + (" not ended" if found.tasks else ""))
    if found.tasks:
        tasks = [(short(row.name), row.state, f"{row.progress:.0%}", ", ".join(row.running_nodes)) for row in found.tasks]
        print_table(("TASK", "STATE", "PROGRESS", "RUNNING"), tasks)
    console.print(f"deployments   {len(found.deployments) or 'none'}")
    if found.deployments:
        deployments = [(short(row.name), row.state, f"{row.num_ready}/{row.num_instances}", row.num_in_flight) for row in found.deployments]
        print_table(("DEPLOYMENT", "STATE", "READY", "IN FLIGHT"), deployments)
    console.print()
    if not found.problems:
        console.print("all is well")
    for problem in found.problems:
        errors.print(f"not well: {problem}", markup=False, soft_wrap=True)


def doctor(as_json: JsonOption = False) -> None:
    """Examine this machine for an installation and say what to repair; exit code 1 when it could not work."""
    # -P: a folder called deploy where the person stands is not meant.
    command = [sys.executable, "-P", "-m", DOCTOR, *(["--json"] if as_json else [])]
    raise SystemExit(subprocess.run(command, check=False).returncode)


def _age(row: status_pb2.ServiceStatus, found: status_pb2.Status) -> str:
    seconds = int((found.time.ToDatetime(UTC) - row.start_time.ToDatetime(UTC)).total_seconds())
    days, rest = divmod(max(0, seconds), 86400)
    clock = datetime.fromtimestamp(rest, UTC).strftime("%H:%M:%S")
    return f"{days}d {clock}" if days else clock


def _bytes(number: int) -> str:
    """With a unit that a person reads at a glance."""
    size, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
