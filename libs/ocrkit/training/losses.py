"""Losses: CTC for lines, text maps for pages.

Letters in names: B batch, T time steps, C classes, H height, W width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from libs.ocrkit.charset import BLANK
from libs.runtime.errors import InvalidInput

__all__ = ["LossNotFinite", "ctc_loss", "require_finite", "text_map_loss"]

_STEPS_PER_CHARACTER = 4
_BACKGROUND_PER_TEXT = 3
_LEAST_BACKGROUND = 500


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


def text_map_loss(logits_BHW: Tensor, text_BHW: Tensor, counted_BHW: Tensor) -> Tensor:
    """Cross-entropy on text and the hardest background, and the dice loss on the same pixels.

    Args:
        logits_BHW: float32, before the sigmoid.
        text_BHW: 1 inside shrunken text, else 0.
        counted_BHW: 0 where nobody knows; such pixels do not count.

    Source: Liao et al. 2020 (DB), loss of the probability map: background pixels up to three times those of text.
    """
    losses_BHW = functional.binary_cross_entropy_with_logits(logits_BHW, text_BHW, reduction="none") * counted_BHW
    positive_BHW = text_BHW * counted_BHW
    negative_BHW = (1 - text_BHW) * counted_BHW
    num_positive = int(positive_BHW.sum())
    num_negative = min(int(negative_BHW.sum()), max(_LEAST_BACKGROUND, _BACKGROUND_PER_TEXT * num_positive))
    background = (losses_BHW * negative_BHW).flatten()
    hardest = background.topk(num_negative).values if num_negative else background[:0]
    cross_entropy = ((losses_BHW * positive_BHW).sum() + hardest.sum()) / max(1, num_positive + num_negative)
    limit = hardest[-1].detach() if num_negative else losses_BHW.new_tensor(torch.inf)
    chosen_BHW = positive_BHW + negative_BHW * (losses_BHW.detach() >= limit)
    prob_BHW = logits_BHW.sigmoid()
    shared = (prob_BHW * text_BHW * chosen_BHW).sum()
    both = (prob_BHW * chosen_BHW).sum() + positive_BHW.sum()
    dice = 1 - 2 * shared / (both + 1.0)
    return cross_entropy + (dice if num_positive else 0.0)


def require_finite(loss: Tensor, *, step: int) -> float:
    """The loss as a number.

    Raises:
        LossNotFinite: it is none.
    """
    value = loss.item()
    if not torch.isfinite(loss):
        raise LossNotFinite(f"The loss of step {step} is {value}; look at the newest labels, then train again.", step=step, loss=value)
    return value
