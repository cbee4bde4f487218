"""Which lines come when: an order that can be stopped and taken up again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.ocrkit.training.cache import CachedRow, FeatureCache

__all__ = ["BatchOrder", "LineBatch", "TrainingLines"]


@dataclass(frozen=True)
class LineBatch:
    """Lines of one width: float32 features (B, channels, 1, steps) and the classes of their characters."""

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
        features_BCT = self.cache.read([self.rows[index] for index in indices])
        features = torch.from_numpy(features_BCT.astype(np.float32)).unsqueeze(2)
        return LineBatch(features, tuple(self.labels[index] for index in indices))


class BatchOrder:
    """Batches of equal width, shuffled anew each epoch by seed and epoch alone.

    Args:
        rows: of all lines.
        steps_per_batch: time steps of a batch, padding included; wide lines come in smaller batches.
        max_lines: of a batch.
        seed: of the order.
    """

    def __init__(self, rows: Sequence[CachedRow], *, steps_per_batch: int, max_lines: int, seed: int) -> None:
        self._rows = rows
        self._steps_per_batch = steps_per_batch
        self._max_lines = max_lines
        self.seed = seed
        self.epoch = 0
        self._position = 0
        self._batches = self._shuffled()

    @property
    def num_batches(self) -> int:
        """Batches of one epoch."""
        return len(self._batches)

    def next(self) -> tuple[int, ...]:
        """Positions of the lines of the next batch; after the last of an epoch the next epoch begins."""
        batch = self._batches[self._position]
        self._position += 1
        if self._position == len(self._batches):
            self.epoch += 1
            self._position = 0
            self._batches = self._shuffled()
        return batch

    @property
    def at_epoch_start(self) -> bool:
        """Whether an epoch has just ended."""
        return self._position == 0

    def state_dict(self) -> dict[str, Any]:
        """Where the order stands."""
        return {"epoch": self.epoch, "position": self._position, "seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken.

        Raises:
            ValueError: the state belongs to another seed.
        """
        if state["seed"] != self.seed:
            raise ValueError(f"the state belongs to seed {state['seed']}, not {self.seed}")
        self.epoch, self._position = int(state["epoch"]), int(state["position"])
        self._batches = self._shuffled()

    def _shuffled(self) -> list[tuple[int, ...]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        buckets: dict[tuple[int, int], list[int]] = {}
        for index, row in enumerate(self._rows):
            buckets.setdefault((row.width_px, row.steps), []).append(index)
        batches: list[tuple[int, ...]] = []
        for (_, steps), indices in sorted(buckets.items()):
            size = max(1, min(self._max_lines, self._steps_per_batch // steps))
            shuffled: NDArray[np.int64] = rng.permutation(np.array(indices, dtype=np.int64))
            batches += [tuple(shuffled[start : start + size].tolist()) for start in range(0, len(shuffled), size)]
        return [batches[index] for index in rng.permutation(len(batches)).tolist()]
