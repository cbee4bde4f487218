"""Five kills at seeded points while three people work: nothing acknowledged is lost, nothing happens twice."""

from pathlib import Path

import pytest

from tests.chaos.storm import storm


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    with storm(tmp_path, seed=2) as made:
        result = made.run(5)
    assert result.violations == []
    assert result.outcomes["OK"] > 50
    assert result.by_kind["PREDICT"]["OK"] > 0
    assert all(kill.num_in_flight for kill in result.kills)
