"""The page about troubles names tests that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubles.md"
ROW = re.compile(r"^\| (?!trouble|what goes|---)(.+?) \|.*\|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_trouble_has_a_test_that_there_is() -> None:
    rows = list(ROW.finditer(PAGE.read_text(encoding="utf-8")))
    assert len(rows) > 25
    for row in rows:
        named = TEST.findall(row[0])
        assert named, f"{row[1]} has no test"
        for file, name in named:
            assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file} has no {name}"
