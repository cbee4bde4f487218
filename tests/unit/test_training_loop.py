"""The loop on a network of one matrix: it learns, stops, refuses and resumes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from libs.ocrkit.training.batches import BatchOrder, TrainingLines
from libs.ocrkit.training.cache import FeatureCache
from libs.ocrkit.training.checkpoint import Checkpoints
from libs.ocrkit.training.line_loss import LineLoss, RoughenConfig
from libs.ocrkit.training.loop import LoopConfig, TrainingLoop
from libs.ocrkit.training.losses import LossNotFinite
from libs.ocrkit.training.validate import LineValidation, validate_lines

NUM_CLASSES = 5
CHANNELS = 6


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small are slower on two threads than on one."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[TrainingLines]:
    """Thirty lines of three characters, each character shown by a vector of its own."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((NUM_CLASSES, CHANNELS))
    cache = FeatureCache(tmp_path / "features", max_bytes=10**6)
    labels = []
    for index in range(30):
        classes = rng.permutation(np.arange(1, NUM_CLASSES))[:3]
        steps = np.zeros(8, dtype=np.int64)
        steps[[1, 3, 6]] = classes
        noise = 0.1 * rng.standard_normal((8, CHANNELS))
        assert cache.add(f"{index}", 64, (vectors[steps] + noise).T[:, None].astype(np.float16))
        labels.append(tuple(classes.tolist()))
    cache.flush()
    yield TrainingLines(cache, tuple(cache.row(f"{index}") for index in range(30)), tuple(labels), (True,) * 30)
    cache.close()


def loop_over(
    lines: TrainingLines, *, checkpoints: Checkpoints | None = None, epochs: int = 12, **config: Any
) -> TrainingLoop[LineValidation]:
    torch.manual_seed(0)
    weights = {
        "w": nn.Parameter(0.1 * torch.randn(NUM_CLASSES, CHANNELS)),
        "b": nn.Parameter(torch.zeros(NUM_CLASSES)),
    }

    def forward(features_BC1T: Tensor) -> Tensor:
        return torch.einsum("bcht,kc->btk", features_BC1T, weights["w"]) + weights["b"]

    settings = {"learning_rate": 0.2, "warmup_steps": 2, "average_decay": 0.9, "patience": 99} | config
    order = BatchOrder(lines.rows, width_per_batch_px=512, max_lines=8, seed=5)
    return TrainingLoop(
        weights,
        LineLoss(forward, lines, order, RoughenConfig(), seed=5),
        lambda: validate_lines(forward, lines),
        LineValidation,
        LoopConfig(**settings),
        steps=epochs * order.num_batches,
        steps_per_epoch=order.num_batches,
        checkpoints=checkpoints,
    )


def weights_of(loop: TrainingLoop[LineValidation]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = loop.state_dict()["weights"]
    return state


def test_lines_are_learned(lines: TrainingLines) -> None:
    loop = loop_over(lines)
    reports = list(loop.run())
    assert loop.base is not None
    assert loop.best is not None
    assert loop.base.cer > 0.5
    assert loop.best.cer == 0.0
    assert loop.best.line_accuracy == 1.0
    assert reports[-1].step == reports[-1].total_steps == len(reports)
    assert sum(bool(report.numbers) for report in reports) == 12


def test_best_weights_are_put_back(lines: TrainingLines) -> None:
    loop = loop_over(lines)
    for _ in loop.run():
        pass
    loop.load_best()
    state = loop.state_dict()
    for name, weight in state["best_weights"].items():
        assert torch.equal(state["weights"][name], weight)


def test_resuming_equals_never_having_stopped(lines: TrainingLines, tmp_path: Path) -> None:
    whole = loop_over(lines)
    for _ in whole.run():
        pass
    checkpoints = Checkpoints(tmp_path / "checkpoints", fingerprint="same")
    first = loop_over(lines)
    for report in first.run():
        if report.step == 21:
            checkpoints.save(report.step, first.state_dict())
            break
    second = loop_over(lines)
    state = checkpoints.latest()
    assert state is not None
    second.load_state_dict(state)
    steps = [report.step for report in second.run()]
    assert steps[0] == 22
    for name, weight in weights_of(whole).items():
        assert torch.equal(weights_of(second)[name], weight)
    assert second.best == whole.best
    assert second.base == whole.base


def test_a_loss_that_is_no_number_makes_no_step(lines: TrainingLines) -> None:
    loop = loop_over(lines)
    steps = loop.run()
    next(steps)
    weights = loop._weights
    with torch.no_grad():
        weights["w"][0, 0] = torch.nan
    before = {name: weight.clone() for name, weight in weights.items()}
    with pytest.raises(LossNotFinite, match="step 1 is nan"):
        next(steps)
    for name, weight in before.items():
        assert torch.equal(weight.nan_to_num(), weights[name].nan_to_num())


def test_patience_ends_the_training(lines: TrainingLines) -> None:
    loop = loop_over(lines, learning_rate=0.0, patience=3)
    reports = list(loop.run())
    assert sum(bool(report.numbers) for report in reports) == 3
    assert reports[-1].step < reports[-1].total_steps


def test_time_shortens_the_training(lines: TrainingLines) -> None:
    loop = loop_over(lines, epochs=100_000, max_seconds=0.5)
    last = list(loop.run())[-1]
    assert last.step == last.total_steps
    assert last.numbers
    assert last.step < 100_000


def test_two_checkpoints_are_kept_and_a_damaged_one_gives_way(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, fingerprint="a")
    for step in (1, 2, 3):
        newest = checkpoints.save(step, {"step": step})
    assert len(list(tmp_path.iterdir())) == 2
    newest.write_bytes(newest.read_bytes()[:50])
    assert checkpoints.latest() == {"step": 2}


def test_a_checkpoint_of_another_training_is_not_loaded(tmp_path: Path) -> None:
    Checkpoints(tmp_path, fingerprint="a").save(1, {"step": 1})
    assert Checkpoints(tmp_path, fingerprint="b").latest() is None


def test_cache_finds_rows_again_and_forgets_a_line_cut_off_by_a_crash(tmp_path: Path) -> None:
    features = np.arange(24, dtype=np.float16).reshape(3, 2, 4)
    cache = FeatureCache(tmp_path, max_bytes=1000)
    assert cache.add("a", 64, features)
    assert cache.add("b", 64, features + 1)
    cache.close()
    with (tmp_path / "index.tsv").open("a") as index:
        index.write("c\t64\t2")
    again = FeatureCache(tmp_path, max_bytes=1000)
    assert again.find("c") is None
    assert again.add("d", 64, features + 2)
    again.flush()
    read = again.read([again.row("d"), again.row("a"), again.row("b")])
    np.testing.assert_array_equal(read, np.stack([features + 2, features, features + 1]))
    again.delete()
    assert not tmp_path.exists()


def test_cache_is_bounded(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_bytes=100)
    features = np.zeros((3, 1, 8), dtype=np.float16)
    assert [cache.add(f"{index}", 64, features) for index in range(3)] == [True, True, False]
    assert cache.size_bytes == 96
    cache.close()
