"""The loss of the recognizer's training, step by step: which lines, their features roughened, CTC."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
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
        self._roughen(batch.features, step)
        logits_BTC = self._forward(batch.features)
        return ctc_loss(logits_BTC, batch.labels), len(batch.labels)

    def _roughen(self, features_BCHT: Tensor, step: int) -> None:
        """Change features in place."""
        dropout, noise = self._roughen_config.dropout, self._roughen_config.noise
        rng = np.random.default_rng([self._seed, step])
        if noise > 0:
            drawn = torch.from_numpy(rng.standard_normal(features_BCHT.shape, dtype=np.float32))
            features_BCHT.add_(drawn, alpha=noise * float(features_BCHT.std()))
        if dropout > 0:
            # A byte each, and a table of what becomes of it: floats and masks of torch's took a twentieth of a step.
            factors = np.where(np.arange(256) < round(256 * dropout), 0, 1 / (1 - dropout)).astype(np.float32)
            drawn_by_byte = cv2.LUT(rng.integers(0, 256, (1, features_BCHT.numel()), dtype=np.uint8), factors)
            features_BCHT.mul_(torch.from_numpy(drawn_by_byte).view(features_BCHT.shape))
