"""CTC over logits, per line, so that long and short lines weigh the same by character.

Letters in names: B batch, T time steps, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from libs.ocrkit.charset import BLANK
from libs.runtime.errors import InvalidInput

__all__ = ["LossNotFinite", "ctc_loss", "require_finite"]

_STEPS_PER_CHARACTER = 4


class LossNotFinite(InvalidInput):
    """The loss became infinite or not a number; no step was made with it."""

    reason = "TRAINING_DIVERGED"


def ctc_loss(logits_BTC: Tensor, labels: Sequence[Sequence[int]]) -> Tensor:
    """Mean over the batch of each line's negative log-likelihood divided by its number of characters.

    A line without characters counts as if it had one for each four steps, about what a line of text of its width has.

    Args:
        logits_BTC: float32, before softmax. All steps count: the reader sees the filled-up right end as well.
        labels: classes of each line, none of them blank, each feasible within T.
    """
    log_probs_TBC = functional.log_softmax(logits_BTC.transpose(0, 1), dim=-1)
    num_steps, num_lines = log_probs_TBC.shape[:2]
    lengths = torch.tensor([len(line) for line in labels], dtype=torch.int64)
    flat = torch.tensor([label for line in labels for label in line], dtype=torch.int64)
    steps = torch.full((num_lines,), num_steps, dtype=torch.int64)
    losses_B = functional.ctc_loss(log_probs_TBC, flat, steps, lengths, blank=BLANK, reduction="none")
    weights_B = torch.where(lengths > 0, lengths, max(1, num_steps // _STEPS_PER_CHARACTER))
    return (losses_B / weights_B).mean()


def require_finite(loss: Tensor, *, step: int) -> float:
    """The loss as a number.

    Raises:
        LossNotFinite: it is none.
    """
    value = loss.item()
    if not torch.isfinite(loss):
        raise LossNotFinite(f"The loss of step {step} is {value}; look at the newest labels, then train again.", step=step, loss=value)
    return value
