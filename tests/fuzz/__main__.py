"""``python -m tests.fuzz --cases 10000 --seed 1`` has schemathesis call a running installation and writes what came back.

Cases are counted in the gateway's own log: what it answered, whatever the tool thinks of it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from inkwright.dataset.v1 import dataset_pb2
from inkwright.inference.v1 import deployment_pb2
from libs.demo.generator import generate
from libs.demo.installation import Running, installation
from tests.bench.report import Report, Table, command_line
from tests.e2e.steps import wait_for, wait_running

RESULTS = Path(__file__).parent / "results"
SCHEMATHESIS = Path("build/fuzz/bin/schemathesis")
CASES_AT_FIRST = 15
"""Of each operation; with 60 operations, and the cases that cover every field, about 3,500 in all."""
ALLOWED = {503}
"""Documented: nothing is ready that could answer (2002 of the public API, NO_READY_INSTANCE of the management API)."""
ENDLESS = "StreamEvents"
"""An event stream never ends; other tests read it."""


def prepare(running: Running, folder: Path) -> None:
    """Things to be found: a data set with labels, a deployment."""
    generate(folder / "cards", num_images=6, seed=1, part="train", num_unlabeled=2)
    running.client.create_dataset("cards", path=str(folder / "cards"))
    wait_for(lambda: running.client.get_dataset("cards").state == dataset_pb2.Dataset.READY, seconds=60)
    running.client.create_deployment("reader", deployment_pb2.Deployment(model="ppocrv6-small"))
    wait_running(running.client, "reader")


def call(running: Running, folder: Path, *, num_examples: int, seed: int) -> None:
    """Let schemathesis try every operation, then chains of them along the document's links; how it ends is not what counts."""
    token = running.client.reveal_token("reader")
    config = folder / "schemathesis.toml"
    config.write_text(
        f"""
[parameters]
"path.project" = "default"

[[operations]]
include-path-regex = "^/api/"
headers = {{ Authorization = "{token}" }}
"""
    )
    command = [
        SCHEMATHESIS,
        "--config-file",
        config,
        "run",
        f"{running.url}/openapi.json",
        "--header",
        f"Authorization: Bearer {running.token}",
    ]
    options = ["--checks", "not_a_server_error", "--continue-on-failure", "--max-examples", num_examples, "--seed", seed]
    quiet = ["--workers", 2, "--request-timeout", 60, "--suppress-health-check", "all", "--warnings", "off", "--no-color"]
    every = [*command, *options, *quiet, "--exclude-operation-id", ENDLESS]
    subprocess.run([str(Path.cwd() / part) if part is SCHEMATHESIS else str(part) for part in every], cwd=folder, check=False)


def answered(home: Path) -> Counter[tuple[str, int]]:
    """How often the gateway answered so, by path template and status."""
    lines = (json.loads(line) for line in (home / "logs" / "gateway.log").read_text(encoding="utf-8").splitlines() if line.startswith("{"))
    return Counter((str(line["path"]), int(line["status"])) for line in lines if line.get("event") == "request_finished")


def report_of(seen: Counter[tuple[str, int]], *, cases: int, seed: int) -> Report:
    """What came back, for people and programs."""
    statuses: Counter[int] = Counter()
    for (_, status), count in seen.items():
        statuses[status] += count
    failed = sorted((path, status, count) for (path, status), count in seen.items() if status >= 500)
    return Report(
        name="fuzz",
        title=f"{seen.total()} random requests, {wrong(seen)} answers that must not be",
        command=command_line("fuzz", CASES=cases, SEED=seed),
        tables=[
            Table("Answers", ("status", "requests"), sorted(statuses.items())),
            Table("Answers of 500 and more", ("path", "status", "requests"), failed or [("none", "", "")]),
        ],
        figures={"statuses": {str(status): count for status, count in statuses.items()}, "failed": failed, "seed": seed},
        remarks=[
            f"Every operation of the OpenAPI document but {ENDLESS}, then chains of operations along its links. "
            "503 is documented: nothing is ready that could answer."
        ],
    )


def wrong(seen: Counter[tuple[str, int]]) -> int:
    """How many answers are neither a refusal nor documented."""
    return sum(count for (_, status), count in seen.items() if status >= 500 and status not in ALLOWED)


def main() -> int:
    """Call until there were enough cases; 1 where an answer must not be, or there were too few."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Random requests to a running installation.")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="inkwright-fuzz-") as folder:
        home, images = Path(folder) / "home", Path(folder) / "images"
        images.mkdir()
        with installation(home, images, env={"INKWRIGHT_TRAINER_MAX_TRAINING_SECONDS": "5"}) as running:
            prepare(running, images)
            seed, num_examples, before = options.seed, CASES_AT_FIRST, -1
            while before < (seen := answered(home)).total() < options.cases and not wrong(seen):
                before = seen.total()
                call(running, Path(folder), num_examples=num_examples, seed=seed)
                seed, num_examples = seed + 1, num_examples * 2
        seen = answered(home)
    report_of(seen, cases=options.cases, seed=options.seed).write(RESULTS)
    return int(wrong(seen) > 0 or seen.total() < options.cases)


if __name__ == "__main__":
    sys.exit(main())
