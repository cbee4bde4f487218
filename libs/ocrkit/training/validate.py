"""How well lines are read with the weights as they are now."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from libs.ocrkit.charset import BLANK
from libs.ocrkit.training.batches import TrainingLines
from libs.ocrkit.training.losses import ctc_loss

__all__ = ["LineValidation", "validate_lines"]


@dataclass(frozen=True)
class LineValidation:
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

    @property
    def rank(self) -> tuple[float, ...]:
        """Fewer wrong characters first, then the smaller loss."""
        return self.cer, self.loss

    def numbers(self) -> Mapping[str, float]:
        """See ``Measured``."""
        return asdict(self)


@torch.no_grad()
def validate_lines(forward: Callable[[Tensor], Tensor], lines: TrainingLines, *, lines_per_batch: int = 64) -> LineValidation:
    """Greedy reading of every line against its classes.

    Args:
        forward: from features (B, C, H, T) to logits (B, T, classes).
        lines: in any order of widths.
    """
    buckets: dict[int, list[int]] = {}
    for index, row in enumerate(lines.rows):
        buckets.setdefault(row.width_px, []).append(index)
    loss, edits, characters = 0.0, 0, 0
    right = {True: 0, False: 0}
    for indices in buckets.values():
        for start in range(0, len(indices), lines_per_batch):
            chosen = indices[start : start + lines_per_batch]
            batch = lines.batch(chosen)
            logits_BTC = forward(batch.features)
            loss += ctc_loss(logits_BTC, batch.labels).item() * len(chosen)
            for index, labels, read in zip(chosen, batch.labels, _greedy(logits_BTC), strict=True):
                edits += Levenshtein.distance(labels, read)
                characters += len(labels)
                right[lines.labelled[index]] += tuple(read) == labels
    num_labelled = sum(lines.labelled)
    num_detected = len(lines.rows) - num_labelled
    return LineValidation(
        loss=loss / max(1, len(lines.rows)),
        cer=edits / max(1, characters),
        line_accuracy=right[True] / max(1, num_labelled),
        detected_line_accuracy=right[False] / max(1, num_detected),
    )


def _greedy(logits_BTC: Tensor) -> list[list[int]]:
    ids_BT = logits_BTC.argmax(dim=-1)
    changed_BT = torch.ones_like(ids_BT, dtype=torch.bool)
    changed_BT[:, 1:] = ids_BT[:, 1:] != ids_BT[:, :-1]
    kept_BT = changed_BT & (ids_BT != BLANK)
    return [ids_T[kept_T].tolist() for ids_T, kept_T in zip(ids_BT, kept_BT, strict=True)]
