"""The training loop: batch, forward, loss, finite, backward, clip, step, log, checkpoint, validate."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from libs.ocrkit.training.batches import BatchOrder, TrainingLines
from libs.ocrkit.training.checkpoint import Checkpoints
from libs.ocrkit.training.ema import WeightAverage
from libs.ocrkit.training.losses import ctc_loss, require_finite

__all__ = ["LoopConfig", "StepReport", "TrainingLoop", "Validation"]


@dataclass(frozen=True)
class LoopConfig:
    """How weights move.

    Args:
        learning_rate: at its highest, after the warm-up; it then falls along a half cosine to a hundredth.
        warmup_steps: over which the rate rises from zero; at most a tenth of the training.
        clip_norm: largest norm of the gradient.
        feature_dropout: share of the cached features set to zero in a step, anew each time; the cache holds few views of each line.
        feature_noise: normal noise added to the features, in units of their spread in the batch.
        average_decay: of the moving average of the weights, which is what is validated and kept.
        epochs: over all lines.
        patience: validations without a better CER after which training ends.
        checkpoint_seconds: at most this much work is lost in a crash.
        max_seconds: of the loop; the fall of the rate is moved forward to end in time.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 50
    clip_norm: float = 5.0
    feature_dropout: float = 0.2
    feature_noise: float = 0.0
    average_decay: float = 0.998
    epochs: int = 8
    patience: int = 4
    checkpoint_seconds: float = 60.0
    max_seconds: float = 3600.0


@dataclass(frozen=True)
class Validation:
    """Numbers on the validation lines.

    Args:
        loss: CTC, all lines.
        cer: character error rate, all lines.
        line_accuracy: of labelled boxes, exact.
        detected_line_accuracy: of the detector's boxes, exact, column breaks included; 0 where there are none.
    """

    loss: float
    cer: float
    line_accuracy: float
    detected_line_accuracy: float


@dataclass(frozen=True)
class StepReport:
    """What the loop tells after a step; ``validation`` only where one was made."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    num_lines: int
    validation: Validation | None


Validate = Callable[[], Validation]
Forward = Callable[[Tensor], Tensor]


class TrainingLoop:
    """All state of one training; ``run`` yields after each step and may be left and taken up again.

    Args:
        weights: the trainable ones, by name.
        forward: from features (B, C, 1, T) to logits (B, T, classes).
        lines: what is trained on.
        order: in which batches.
        validate: called with the averaged weights in place.
        checkpoints: None for none.
    """

    def __init__(
        self,
        weights: dict[str, nn.Parameter],
        forward: Forward,
        lines: TrainingLines,
        order: BatchOrder,
        validate: Validate,
        config: LoopConfig,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._weights = weights
        self._forward = forward
        self._lines = lines
        self._order = order
        self._validate = validate
        self._config = config
        self._checkpoints = checkpoints
        self._optimizer = torch.optim.AdamW(weights.values(), lr=config.learning_rate, weight_decay=0.0)
        self._average = WeightAverage(weights, decay=config.average_decay)
        self.step = 0
        self._planned_steps = config.epochs * order.num_batches
        self.total_steps = self._planned_steps
        self.base: Validation | None = None
        self.best: Validation | None = None
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
            batch = self._lines.batch(self._order.next())
            logits_BTC = self._forward(self._roughen(batch.features))
            loss = ctc_loss(logits_BTC, batch.labels)
            loss_value = require_finite(loss, step=self.step)
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self._weights.values(), self._config.clip_norm)
            self._set_rate()
            self._optimizer.step()
            self._average.update()
            self.step += 1
            self._seconds = time.monotonic() - started_at
            self._fit_time()
            validation = self._judge() if self._order.at_epoch_start or self.step == self.total_steps else None
            if self._checkpoints is not None and (time.monotonic() - saved_at > self._config.checkpoint_seconds):
                self._checkpoints.save(self.step, self.state_dict())
                saved_at = time.monotonic()
            yield StepReport(self.step, self.total_steps, self._order.epoch, loss_value, len(batch.labels), validation)

    def _roughen(self, features_BC1T: Tensor) -> Tensor:
        """Dropout and noise drawn by seed and step alone, so that they need no state of their own."""
        dropout, noise = self._config.feature_dropout, self._config.feature_noise
        generator = torch.Generator().manual_seed((self._order.seed << 32) + self.step)
        if noise > 0:
            features_BC1T = features_BC1T + noise * features_BC1T.std() * torch.randn(features_BC1T.shape, generator=generator)
        if dropout > 0:
            kept = torch.rand(features_BC1T.shape, generator=generator) >= dropout
            features_BC1T = features_BC1T * kept / (1 - dropout)
        return features_BC1T

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
            "order": self._order.state_dict(),
            "step": self.step,
            "total_steps": self.total_steps,
            "best": _numbers(self.best),
            "base": _numbers(self.base),
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
        self._order.load_state_dict(state["order"])
        self.step, self.total_steps = int(state["step"]), int(state["total_steps"])
        self.best = None if state["best"] is None else Validation(*state["best"])
        self.base = None if state["base"] is None else Validation(*state["base"])
        self._best_weights = {name: weight.clone() for name, weight in state["best_weights"].items()}
        self._validations_since_best = int(state["validations_since_best"])
        self._seconds = float(state["seconds"])

    def _judge(self) -> Validation:
        with self._average.in_place():
            validation = self._validate()
            if self.best is None or (validation.cer, validation.loss) < (self.best.cer, self.best.loss):
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


def _numbers(validation: Validation | None) -> list[float] | None:
    return None if validation is None else [*astuple(validation)]
