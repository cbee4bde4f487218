"""The page about metrics says what the code shows."""

import importlib
import json
import re
from pathlib import Path

from prometheus_client import REGISTRY

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "observability.md"
DASHBOARD = ROOT / "deploy" / "dashboards" / "inkwright.json"
ROOMS = (
    "libs.runtime.metrics",
    "gateway.metrics",
    "services.inference.metrics",
    "services.inference.instance.metrics",
    "services.trainer.metrics",
)
ROW = re.compile(r"^\| `(inkwright_\w+)` \| (\w+) \|", re.MULTILINE)


def shown() -> dict[str, str]:
    """Type by name, as Prometheus reads it."""
    for room in ROOMS:
        importlib.import_module(room)
    families = [family for family in REGISTRY.collect() if family.name.startswith("inkwright_")]
    return {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}


def test_every_metric_is_documented_with_its_type_and_no_other_is() -> None:
    assert dict(ROW.findall(PAGE.read_text(encoding="utf-8"))) == shown()


def test_the_dashboard_asks_only_for_what_there_is() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in re.findall(r"inkwright_\w+", target["expr"])}
    assert len(asked) > 15
    assert {name.removesuffix("_bucket") for name in asked} <= shown().keys()


def test_names_end_in_their_unit() -> None:
    for name, kind in shown().items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert kind != "histogram" or name.endswith("_seconds"), name
        assert not re.search(r"_(ms|milliseconds|mb|kb|percent)(_|$)", name), name
