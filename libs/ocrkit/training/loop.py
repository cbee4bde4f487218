"""The training loop of recognizer and detector: batch, forward, loss, finite, backward, clip, step, log, checkpoint, validate."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from libs.ocrkit.training.checkpoint import Checkpoints
from libs.ocrkit.training.ema import WeightAverage
from libs.ocrkit.training.losses import require_finite

__all__ = ["LoopConfig", "Measured", "StepReport", "TrainingLoop"]


class Measured(Protocol):
    """What a validation gives."""

    @property
    def rank(self) -> tuple[float, ...]:
        """The lower, the better the weights."""

    def numbers(self) -> Mapping[str, float]:
        """Its points on the curves, by name; enough to make it again."""


M = TypeVar("M", bound=Measured)


@dataclass(frozen=True)
class LoopConfig:
    """How weights move.

    Args:
        learning_rate: at its highest, after the warm-up; it then falls along a half cosine to a hundredth.
        warmup_steps: over which the rate rises from zero; at most a tenth of the training.
        clip_norm: largest norm of the gradient.
        average_decay: of the moving average of the weights, which is what is validated and kept.
        patience: validations without a better one after which training ends.
        checkpoint_seconds: at most this much work is lost in a crash.
        max_seconds: of the loop; the fall of the rate is moved forward to end in time.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 50
    clip_norm: float = 5.0
    average_decay: float = 0.998
    patience: int = 4
    checkpoint_seconds: float = 60.0
    max_seconds: float = 3600.0


@dataclass(frozen=True)
class StepReport:
    """What the loop tells after a step.

    Args:
        loss: of the step.
        num_samples: of the step.
        seconds: of the step, from asking for its batch to the new weights.
        numbers: of the validation that followed; empty where none was made.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    num_samples: int
    seconds: float
    numbers: Mapping[str, float]


class TrainingLoop(Generic[M]):
    """All state of one training; ``run`` yields after each step and may be left and taken up again.

    Args:
        weights: the trainable ones, by name.
        loss_at: forward pass and loss of a step, and its number of samples; a function of the step and the weights alone.
        validate: called with the averaged weights in place.
        measured: makes a validation of its numbers again.
        config: how weights move.
        steps: of the whole training.
        steps_per_epoch: after each epoch follows a validation.
        checkpoints: None for none.
    """

    def __init__(
        self,
        weights: dict[str, nn.Parameter],
        loss_at: Callable[[int], tuple[Tensor, int]],
        validate: Callable[[], M],
        measured: Callable[..., M],
        config: LoopConfig,
        *,
        steps: int,
        steps_per_epoch: int,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._weights = weights
        self._loss_at = loss_at
        self._validate = validate
        self._measured = measured
        self._config = config
        self._checkpoints = checkpoints
        self._optimizer = torch.optim.AdamW(weights.values(), lr=config.learning_rate, weight_decay=0.0)
        self._average = WeightAverage(weights, decay=config.average_decay)
        self.step = 0
        self._planned_steps = steps
        self._steps_per_epoch = steps_per_epoch
        self.total_steps = steps
        self.base: M | None = None
        self.best: M | None = None
        self._best_weights: dict[str, Tensor] = {}
        self._validations_since_best = 0
        self._seconds = 0.0

    def run(self) -> Iterator[StepReport]:
        """Train to the end of the epochs, the patience or the time.

        Raises:
            LossNotFinite: the loss is no number; weights are as before that step.
        """
        if self.base is None:
            self.base = self._judge()
        started_at = time.monotonic() - self._seconds
        saved_at = time.monotonic()
        while self.step < self.total_steps and self._validations_since_best < self._config.patience:
            step_began_at = time.monotonic()
            loss, num_samples = self._loss_at(self.step)
            loss_value = require_finite(loss, step=self.step)
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self._weights.values(), self._config.clip_norm)
            self._set_rate()
            self._optimizer.step()
            self._average.update()
            self.step += 1
            step_seconds = time.monotonic() - step_began_at
            self._seconds = time.monotonic() - started_at
            self._fit_time()
            is_validated = self.step % self._steps_per_epoch == 0 or self.step == self.total_steps
            numbers = self._judge().numbers() if is_validated else {}
            if self._checkpoints is not None and (time.monotonic() - saved_at > self._config.checkpoint_seconds):
                self._checkpoints.save(self.step, self.state_dict())
                saved_at = time.monotonic()
            epoch = self.step // self._steps_per_epoch
            yield StepReport(self.step, self.total_steps, epoch, loss_value, num_samples, step_seconds, numbers)

    def load_best(self) -> None:
        """Put the best averaged weights into the module."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(self._best_weights[name])

    def state_dict(self) -> dict[str, Any]:
        """Everything that must survive a crash."""
        return {
            "weights": {name: weight.detach().clone() for name, weight in self._weights.items()},
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state_dict(),
            "step": self.step,
            "total_steps": self.total_steps,
            "best": None if self.best is None else dict(self.best.numbers()),
            "base": None if self.base is None else dict(self.base.numbers()),
            "best_weights": {name: weight.clone() for name, weight in self._best_weights.items()},
            "validations_since_best": self._validations_since_best,
            "seconds": self._seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where ``state_dict`` was taken."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["weights"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._average.load_state_dict(state["average"])
        self.step, self.total_steps = int(state["step"]), int(state["total_steps"])
        self.best = None if state["best"] is None else self._measured(**state["best"])
        self.base = None if state["base"] is None else self._measured(**state["base"])
        self._best_weights = {name: weight.clone() for name, weight in state["best_weights"].items()}
        self._validations_since_best = int(state["validations_since_best"])
        self._seconds = float(state["seconds"])

    def _judge(self) -> M:
        with self._average.in_place():
            validation = self._validate()
            if self.best is None or validation.rank < self.best.rank:
                self.best = validation
                self._best_weights = {name: weight.detach().clone() for name, weight in self._weights.items()}
                self._validations_since_best = 0
            else:
                self._validations_since_best += 1
        return validation

    def _set_rate(self) -> None:
        config = self._config
        warm = min(1.0, (self.step + 1) / max(1, min(config.warmup_steps, self._planned_steps // 10)))
        fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / max(1, self.total_steps))))
        for group in self._optimizer.param_groups:
            group["lr"] = config.learning_rate * warm * fall

    def _fit_time(self) -> None:
        """Shorten the training when its pace would not end in time."""
        if self.step >= 20:
            affordable = int(self.step * self._config.max_seconds / max(self._seconds, 1e-9))
            self.total_steps = max(self.step, min(self._planned_steps, affordable))
