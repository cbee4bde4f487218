"""A moving average of weights: calmer than the weights themselves, and what is kept in the end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Average of the given weights; young averages forget faster.

    Args:
        weights: by name; read in ``update``, exchanged in ``in_place``.
        decay: share of the old average kept in a step.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], *, decay: float) -> None:
        self._weights = weights
        self._decay = decay
        self._num_updates = 0
        self._average: dict[str, Tensor] = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of this step in."""
        self._num_updates += 1
        decay = min(self._decay, self._num_updates / (10 + self._num_updates))
        for name, average in self._average.items():
            average.lerp_(self._weights[name], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The average in place of the weights, and the weights back afterwards."""
        own = {name: weight.detach().clone() for name, weight in self._weights.items()}
        try:
            self._put(self._average)
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        """Average and age."""
        return {"num_updates": self._num_updates, "average": {name: value.clone() for name, value in self._average.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._num_updates = int(state["num_updates"])
        for name, average in self._average.items():
            average.copy_(state["average"][name])
