"""Turns what happens in training into events: stages, fractions, sentences."""

import time
from collections.abc import Callable, Mapping

from libs.ocrkit.training.events import Report, TrainingEvent
from libs.ocrkit.training.loop import StepReport

__all__ = ["Narrator"]

_SECONDS_BETWEEN_STEPS = 1.0


class Narrator:
    """Knows the stage training is in and how far it is.

    Args:
        report: who is told.
        stages: in order, each with where its share of the whole begins and ends, in [0, 1].
    """

    def __init__(self, report: Report, stages: Mapping[str, tuple[float, float]]) -> None:
        self._report = report
        self._stages = stages
        self._stage = next(iter(stages))
        self._fraction = 0.0
        self._entered_at = self._told_at = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._samples_since_told = 0
        self._step_seconds_since_told = 0.0

    def enter(self, stage: str) -> None:
        """A stage begins, the one before has ended."""
        self.seconds()
        self._stage, self._entered_at = stage, time.monotonic()
        self.progress(0.0)

    def seconds(self) -> dict[str, float]:
        """Seconds by stage so far."""
        self._seconds[self._stage] = time.monotonic() - self._entered_at
        return dict(self._seconds)

    def progress(self, part: float) -> None:
        """How much of the stage is done, in [0, 1]."""
        begin, end = self._stages[self._stage]
        self._fraction = max(self._fraction, begin + (end - begin) * min(1.0, part))
        self._report(TrainingEvent("progress", self._fraction, self._stage))

    def share(self, begin: float, end: float) -> Callable[[float], None]:
        """A reporter of progress for a part of the stage."""
        return lambda part: self.progress(begin + (end - begin) * part)

    def say(self, message: str, **values: float) -> None:
        """A line for the log."""
        self._report(TrainingEvent("log", self._fraction, self._stage, message, values))

    def say_rejected(self, what: str, rejected: Mapping[str, int]) -> None:
        """Which boxes are left out and why; nothing when there are none."""
        counts = {reason: count for reason, count in sorted(rejected.items()) if count}
        if counts:
            listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
            self.say(
                f"{sum(counts.values())} {what} left out: {listed}", **{f"rejected_{reason}": count for reason, count in counts.items()}
            )

    def step(self, step: StepReport) -> None:
        """A step of the loop: progress about once a second, a measurement with each validation."""
        self._samples_since_told += step.num_samples
        self._step_seconds_since_told += step.seconds
        if not step.numbers and time.monotonic() - self._told_at < _SECONDS_BETWEEN_STEPS:
            return
        begin, end = self._stages[self._stage]
        self._fraction = max(self._fraction, begin + (end - begin) * step.step / step.total_steps)
        values = {
            "step": step.step,
            "total_steps": step.total_steps,
            "epoch": step.epoch,
            "loss": step.loss,
            "samples_per_second": self._samples_since_told / max(self._step_seconds_since_told, 1e-9),
        }
        if step.numbers:
            values |= {f"val_{name}": value for name, value in step.numbers.items()}
        self._report(TrainingEvent("metrics" if step.numbers else "progress", self._fraction, self._stage, values=values))
        self._told_at, self._samples_since_told, self._step_seconds_since_told = time.monotonic(), 0, 0.0
