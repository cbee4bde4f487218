"""`python -m tests.bench`: every benchmark, its figures, the date and the hardware, as one JSON file in `tests/bench/results`."""

import datetime
import json
import os
import platform
import sys
from pathlib import Path

from tests.bench import reading

BENCHMARKS = {"reading": reading.measure}
RESULTS = Path(__file__).parent / "results"


def hardware() -> dict[str, object]:
    """What the figures were measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    flags = Path("/proc/cpuinfo").read_text()
    wide = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if f" {flag}" in flags]
    return {"cpu": model, "cores": os.cpu_count(), "extensions": wide, "system": platform.platform(), "python": platform.python_version()}


def main() -> None:
    """Run all of them, one after the other."""
    now = datetime.datetime.now(datetime.UTC)
    figures = {}
    for name, measure in BENCHMARKS.items():
        print(f"{name} …", file=sys.stderr)
        figures[name] = measure()
    result = {"date": now.isoformat(timespec="seconds"), "hardware": hardware(), "figures": figures}
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{now:%Y-%m-%d}.json"
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
