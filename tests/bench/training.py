"""`make bench-train`: the training loop beside the bare step on the same batches, in turns within one run, on generated pages.

The loop fetches its batches, checks the loss, averages weights and reports; the bare step is forward pass, loss, backward pass, clipping
and optimizer on batches that lie ready. Validations and checkpoints, which come once an epoch and once a minute, are left out of both.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from libs.demo.generator import generate
from libs.ocrkit.reading import open_named_bundle
from libs.ocrkit.training.data import LabelledPage
from libs.ocrkit.training.loop import TrainingLoop
from libs.runtime.errors import Fault
from tests.bench.contests import Contest, detector_contest, recognizer_contest
from tests.bench.report import Report, Table, command_line

NUM_PAGES = 12
GOAL = 0.95


@dataclass(frozen=True)
class NoValidation:
    """In place of a validation: nothing is judged here."""

    rank: tuple[float, ...] = ()

    def numbers(self) -> Mapping[str, float]:
        """None."""
        return {}


@dataclass
class Outcome:
    """Seconds of each turn, and the samples of all turns."""

    loop_seconds: list[float] = field(default_factory=list)
    bare_seconds: list[float] = field(default_factory=list)
    num_samples: int = 0

    @property
    def ratio(self) -> float:
        """Share of the bare step's samples a second that the loop reaches."""
        return sum(self.bare_seconds) / sum(self.loop_seconds)

    @property
    def median_ratio(self) -> float:
        """The same of the middle turn: what disturbed single turns is left out."""
        return statistics.median(bare / loop for bare, loop in zip(self.bare_seconds, self.loop_seconds, strict=True))


def run(contest: Contest, num_steps: int) -> Outcome:
    """Let loop and bare step take turns.

    Args:
        contest: what is trained.
        num_steps: of each, rounded up to whole turns; the first step of each is not counted.
    """
    num_turns = -(-num_steps // contest.turn_steps)
    far_away = 10 * (num_turns * contest.turn_steps + 1)
    # Without the slow start both move their weights at one rate, so that neither network drifts where steps take another time.
    config = replace(contest.config, warmup_steps=0)
    loop = TrainingLoop(
        dict(contest.weights), contest.loss_at, NoValidation, NoValidation, config, steps=far_away, steps_per_epoch=far_away
    )
    reports = loop.run()
    optimizer = torch.optim.AdamW(contest.bare_weights.values(), lr=config.learning_rate, weight_decay=0.0)
    outcome = Outcome()

    def loop_turn(num: int) -> float:
        started_at = time.perf_counter()
        with contest.turn():
            outcome.num_samples += sum(next(reports).num_samples for _ in range(num))
        return time.perf_counter() - started_at

    def bare_turn(first: int, num: int) -> float:
        batches = contest.prepare(range(first, first + num))
        started_at = time.perf_counter()
        for batch in batches:
            loss = contest.bare_loss(batch)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(contest.bare_weights.values(), config.clip_norm)
            optimizer.step()
        return time.perf_counter() - started_at

    loop_turn(1)
    bare_turn(0, 1)
    outcome.num_samples = 0
    for turn in range(num_turns):
        first = 1 + turn * contest.turn_steps
        if turn % 2:
            outcome.bare_seconds.append(bare_turn(first, contest.turn_steps))
        outcome.loop_seconds.append(loop_turn(contest.turn_steps))
        if not turn % 2:
            outcome.bare_seconds.append(bare_turn(first, contest.turn_steps))
    return outcome


def main() -> None:
    """Measure both trainings and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.training", description="Measure the training loop beside the bare step.")
    parser.add_argument("--steps", type=int, default=0, help="of each network, in the loop and bare; default: enough of each")
    parser.add_argument("--out", default="", help="name of the report")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_flush_denormal(True)  # As the detector's training does.
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pages = [LabelledPage(image.path, image.boxes) for image in generate(folder / "pages", num_images=NUM_PAGES, seed=1, part="train")]
        try:
            base = open_named_bundle("base")
            for contest_of in (recognizer_contest, detector_contest):
                contest = contest_of(base, pages, folder)
                print(f"{contest.title} …", file=sys.stderr)
                outcomes[contest.title] = run(contest, options.steps or contest.num_steps)
        except Fault as fault:
            sys.exit(f"bench-train stopped: {fault}")
    rows = [
        (
            title,
            f"{outcome.num_samples / sum(outcome.loop_seconds):.2f}",
            f"{outcome.num_samples / sum(outcome.bare_seconds):.2f}",
            f"{outcome.ratio:.3f}",
            f"{outcome.median_ratio:.3f}",
        )
        for title, outcome in outcomes.items()
    ]
    Report(
        name=f"train-{options.out}" if options.out else "train",
        title="The training loop beside the bare step",
        command=command_line("bench-train", STEPS=options.steps, OUT=options.out),
        tables=[Table(f"Goal: {GOAL} or above", ("training", "samples/s, loop", "samples/s, bare", "ratio", "ratio, median turn"), rows)],
        figures={
            title: {
                "ratio": outcome.ratio,
                "median_ratio": outcome.median_ratio,
                "num_samples": outcome.num_samples,
                "loop_seconds": outcome.loop_seconds,
                "bare_seconds": outcome.bare_seconds,
            }
            for title, outcome in outcomes.items()
        },
    ).write()


if __name__ == "__main__":
    main()
