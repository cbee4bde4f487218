"""``python -m deploy.doctor [--json]``, which `inkctl doctor` runs: every check, a line each; exit code 1 when one failed."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import orjson
from pydantic import ValidationError

from deploy.doctor import databases, folders, machine, network
from deploy.doctor.finding import Finding, Level, fail
from deploy.embedded.settings import EmbeddedSettings
from libs.runtime.cannot_start import setting_problems
from libs.runtime.logs import configure_logs
from libs.runtime.settings import ServiceSettings

Check = Callable[[ServiceSettings], Iterator[Finding]]

CHECKS: Sequence[Check] = (
    machine.python,
    machine.processor,
    machine.memory,
    machine.disk,
    machine.gpu,
    machine.torch,
    machine.fonts,
    folders.home,
    folders.key,
    folders.roots,
    folders.models,
    databases.databases,
    network.ports,
    network.bus,
    network.clock,
)


def examine(settings: ServiceSettings, checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Everything, one after the other; a check that breaks is a finding itself."""
    for check in checks:
        try:
            yield from check(settings)
        except Exception as error:  # noqa: BLE001 - the other checks still tell something
            yield fail(check.__name__, f"the check itself broke: {error!r}", "Report this with the line above; the rest of the list holds.")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 when something cannot work."""
    parser = argparse.ArgumentParser(prog="inkctl doctor", description="Examine this machine for an installation.")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    as_json = parser.parse_args(arguments).json
    configure_logs("doctor", level="error", log_format="console")
    worst = Level.OK
    found: list[Finding] = []
    for finding in _findings():
        found.append(finding)
        if finding.level is Level.FAIL:
            worst = Level.FAIL
        if not as_json:
            # Line by line: some checks take seconds.
            sys.stdout.write(_line(finding))
            sys.stdout.flush()
    if as_json:
        sys.stdout.write(orjson.dumps([asdict(finding) for finding in found], option=orjson.OPT_INDENT_2).decode() + "\n")
    return 1 if worst is Level.FAIL else 0


def _findings() -> Iterator[Finding]:
    try:
        settings = EmbeddedSettings()
    except ValidationError as error:
        for problem in setting_problems(error):
            yield fail("settings", problem, "Correct the environment variable that it names.")
        return
    yield from examine(settings.model_copy(update={"home": settings.home.expanduser().absolute()}))


def _line(finding: Finding) -> str:
    remedy = f"      {'':<20}→ {finding.remedy}\n" if finding.remedy else ""
    return f"{finding.level:<5} {finding.what:<20} {finding.said}\n{remedy}"


if __name__ == "__main__":
    sys.exit(main())
