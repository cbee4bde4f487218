"""``python -m tests.chaos --kills 100 --seed 1 [--database postgresql] [--history FILE]`` writes a report into ``tests/chaos/results``."""

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.bench.report import Report, Table, command_line
from tests.chaos.history import Outcome
from tests.chaos.killer import Kill
from tests.chaos.storm import Result, storm

RESULTS = Path(__file__).parent / "results"


def report_of(result: Result, *, seed: int, database: str) -> Report:
    """What a storm came to, for people and programs."""
    places: dict[tuple[str, str], list[Kill]] = {}
    for kill in result.kills:
        places.setdefault((kill.process, kill.point), []).append(kill)
    rows = [
        (
            process,
            point,
            len(kills),
            result.missed.get(f"{process}.{point}", 0),
            f"{max(kill.restarted_seconds for kill in kills):.1f}",
            f"{max(kill.recovered_seconds for kill in kills):.1f}",
        )
        for (process, point), kills in sorted(places.items())
    ]
    return Report(
        name=f"storm-{database}",
        title=f"{len(result.kills)} kills on {database}, {len(result.violations)} violations",
        command=command_line("chaos", KILLS=len(result.kills), SEED=seed),
        tables=[
            Table(
                "Kills, each with a call in flight",
                ("process", "place", "landed", "did not count", "slowest restart, s", "slowest recovery, s"),
                rows,
            ),
            Table(
                "Calls of four people",
                ("call", *Outcome),
                [(kind, *(counts.get(outcome, 0) for outcome in Outcome)) for kind, counts in result.by_kind.items()],
            ),
            Table("Violations", ("what",), [(line,) for line in result.violations] or [("none",)]),
        ],
        figures={**asdict(result), "seed": seed, "database": database},
        remarks=[f"{result.seconds:.0f} s; without an answer a call is unknown: it may have had its effect, once."],
    )


def main() -> int:
    """Run one storm and write what it came to; 1 where something is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill processes of an installation at seeded points.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--history", type=Path, help="keep every call in this file, one JSON line each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inkwright-storm-") as folder:
        with storm(Path(folder), seed=options.seed, database=options.database) as made:
            result = made.run(options.kills)
        if options.history:
            made.history.write(options.history)
    report_of(result, seed=options.seed, database=options.database).write(RESULTS)
    return int(bool(result.violations))


if __name__ == "__main__":
    sys.exit(main())
