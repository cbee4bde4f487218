"""What training tells while it runs; whoever started it decides where it goes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Report", "TrainingEvent"]


@dataclass(frozen=True)
class TrainingEvent:
    """Progress, a measurement or a line for the log.

    Args:
        kind: ``progress`` moves the bar, ``metrics`` is a point of the curves, ``log`` is for people.
        fraction: of the whole training, in [0, 1]; never falls.
        stage: ``lines``, ``detector``, ``features``, ``train``, ``write`` in this order.
        message: one sentence, only in ``log``.
        values: numbers by name (``epoch``, ``loss``, ``val_loss``, ``val_cer``, ``val_line_accuracy``, ``samples_per_second`` …).
    """

    kind: Literal["progress", "metrics", "log"]
    fraction: float
    stage: str
    message: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


Report: TypeAlias = Callable[[TrainingEvent], None]
