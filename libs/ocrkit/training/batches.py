"""Which lines come when: an order that can be stopped and taken up again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.ocrkit.training.cache import CachedRow, FeatureCache

__all__ = ["BatchOrder", "LineBatch", "TrainingLines"]


@dataclass(frozen=True)
class LineBatch:
    """Lines of one width: float32 features (B, channels, height, steps) and the classes of their characters."""

    features: Tensor
    labels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TrainingLines:
    """Cached lines with the classes of their characters and whether a person drew their box, by position."""

    cache: FeatureCache
    rows: tuple[CachedRow, ...]
    labels: tuple[tuple[int, ...], ...]
    labelled: tuple[bool, ...]

    def batch(self, indices: Sequence[int]) -> LineBatch:
        """Lines of one width as a batch."""
        features_BCHT = torch.from_numpy(self.cache.read([self.rows[index] for index in indices]))
        # Torch widens several times as fast as NumPy.
        return LineBatch(features_BCHT.float(), tuple(self.labels[index] for index in indices))


class BatchOrder:
    """Batches of equal width, shuffled anew each epoch by seed and epoch alone: a step says which batch, nothing else is kept.

    Args:
        rows: of all lines.
        width_per_batch_px: of all lines of a batch together, padding included; wide lines come in smaller batches.
        max_lines: of a batch.
        seed: of the order.
    """

    def __init__(self, rows: Sequence[CachedRow], *, width_per_batch_px: int, max_lines: int, seed: int) -> None:
        self._rows = rows
        self._width_per_batch_px = width_per_batch_px
        self._max_lines = max_lines
        self._seed = seed
        self._epoch = 0
        self._batches = self._shuffled()

    @property
    def num_batches(self) -> int:
        """Batches of one epoch."""
        return len(self._batches)

    def at(self, step: int) -> tuple[int, ...]:
        """Positions of the lines of the batch of a step, counted from 0 over all epochs."""
        epoch, position = divmod(step, len(self._batches))
        if epoch != self._epoch:
            self._epoch = epoch
            self._batches = self._shuffled()
        return self._batches[position]

    def _shuffled(self) -> list[tuple[int, ...]]:
        rng = np.random.default_rng([self._seed, self._epoch])
        buckets: dict[int, list[int]] = {}
        for index, row in enumerate(self._rows):
            buckets.setdefault(row.width_px, []).append(index)
        batches: list[tuple[int, ...]] = []
        for width_px, indices in sorted(buckets.items()):
            size = max(1, min(self._max_lines, self._width_per_batch_px // width_px))
            shuffled: NDArray[np.int64] = rng.permutation(np.array(indices, dtype=np.int64))
            batches += [tuple(shuffled[start : start + size].tolist()) for start in range(0, len(shuffled), size)]
        return [batches[index] for index in rng.permutation(len(batches)).tolist()]
