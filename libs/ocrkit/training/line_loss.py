"""The loss of the recognizer's training, step by step: which lines, their features roughened, CTC."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from libs.ocrkit.training.batches import BatchOrder, TrainingLines
from libs.ocrkit.training.losses import ctc_loss

__all__ = ["LineLoss", "RoughenConfig"]


@dataclass(frozen=True)
class RoughenConfig:
    """How cached features are changed in each step; the cache holds few views of each line.

    Args:
        dropout: share of the features set to zero.
        noise: normal noise, in units of the features' spread in the batch.
    """

    dropout: float = 0.2
    noise: float = 0.0


class LineLoss:
    """Forward pass and CTC loss of a step, and its number of lines.

    Args:
        forward: from features (B, C, H, T) to logits (B, T, classes).
        lines: what is trained on.
        order: in which batches.
        roughen: of the features.
        seed: of what is dropped; with the step it decides alone, so that nothing needs to be kept over a crash.
    """

    def __init__(
        self, forward: Callable[[Tensor], Tensor], lines: TrainingLines, order: BatchOrder, roughen: RoughenConfig, *, seed: int
    ) -> None:
        self._forward = forward
        self._lines = lines
        self._order = order
        self._roughen_config = roughen
        self._seed = seed

    def __call__(self, step: int) -> tuple[Tensor, int]:
        """See the class."""
        batch = self._lines.batch(self._order.at(step))
        logits_BTC = self._forward(self._roughen(batch.features, step))
        return ctc_loss(logits_BTC, batch.labels), len(batch.labels)

    def _roughen(self, features_BCHT: Tensor, step: int) -> Tensor:
        dropout, noise = self._roughen_config.dropout, self._roughen_config.noise
        rng = np.random.default_rng([self._seed, step])
        if noise > 0:
            drawn = torch.from_numpy(rng.standard_normal(features_BCHT.shape, dtype=np.float32))
            features_BCHT = features_BCHT + noise * features_BCHT.std() * drawn
        if dropout > 0:
            # A byte each: drawing a float for every feature took a twentieth of a step.
            drawn = torch.from_numpy(rng.integers(0, 256, features_BCHT.shape, dtype=np.uint8))
            features_BCHT = features_BCHT * (drawn >= round(256 * dropout)) / (1 - dropout)
        return features_BCHT
