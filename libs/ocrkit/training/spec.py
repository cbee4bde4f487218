"""What a training is told and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from libs.ocrkit.charset import Charset
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.training.data import LabelledPage
from libs.ocrkit.training.features import FeatureConfig
from libs.ocrkit.training.line_loss import RoughenConfig
from libs.ocrkit.training.loop import LoopConfig
from libs.ocrkit.training.validate import LineValidation
from libs.runtime.errors import InvalidInput

__all__ = ["NothingToTrain", "RecognizerTrainingResult", "RecognizerTrainingSpec"]


class NothingToTrain(InvalidInput):
    """No usable line is left on the training or the validation pages."""

    reason = "NO_LABELS"


@dataclass(frozen=True)
class RecognizerTrainingSpec:
    """One training of a recognizer.

    Args:
        base_bundle: the bundle whose recognizer is trained further; its detector gives the boxes.
        training: pages to learn from.
        validation: pages that choose the best weights; none of them may be among ``training``.
        work_dir: features, checkpoints; may be deleted afterwards.
        mode: a ``Depth``, or ``auto`` for the most that can be trained in the time.
        seed: equal seeds on one machine give equal weights, as long as ``max_seconds`` does not cut the training short.
        num_threads: cores to use.
        max_seconds: of the whole training; features and boxes are always made, the loop gets what is left.
        detector_boxes: also learn from the boxes that the base detector finds, and to cut those that hold several texts.
        num_copies: jittered and distorted copies of each line; None chooses by the number of lines.
        replay: also learn from synthetic lines of the base alphabet, a tenth of all.
        epochs: over all lines and copies; None chooses by their number.
        loop: learning rate (of ``fast``; deeper training moves more gently) and the like.
        roughen: how cached features are changed in each step.
        features: how lines become features.
    """

    base_bundle: Path
    training: tuple[LabelledPage, ...]
    validation: tuple[LabelledPage, ...]
    work_dir: Path
    mode: Literal["auto", "fast", "deep", "full"] = "auto"
    seed: int = 0
    num_threads: int = 2
    max_seconds: float = 1200.0
    detector_boxes: bool = True
    num_copies: int | None = None
    replay: bool = True
    epochs: int | None = None
    loop: LoopConfig = field(default_factory=LoopConfig)
    roughen: RoughenConfig = field(default_factory=RoughenConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)


@dataclass(frozen=True)
class RecognizerTrainingResult:
    """A trained recognizer and what is known about it.

    Args:
        onnx: the base's graph with the trained weights and the head of ``charset``.
        int8_onnx: the same with the backbone in 8 bits.
        charset: characters of the data and the base alphabet.
        postprocess: the base's settings of reading; lines are read upside down as well where labelled text stands on its head.
        base_validation: the base's weights (head already cut) on the same lines.
        validation: the kept weights on the validation lines.
        parity: largest difference of probabilities between the trained module and the written graph in ONNX Runtime.
        num_samples: lines trained on, copies not counted.
        num_features: rows trained on, copies and detected boxes counted.
        rejected: boxes left out, by reason.
        seconds: by stage.
    """

    onnx: bytes
    int8_onnx: bytes
    charset: Charset
    postprocess: DetectorParams
    base_validation: LineValidation
    validation: LineValidation
    parity: float
    num_samples: int
    num_features: int
    num_validation: int
    rejected: Mapping[str, int]
    seconds: Mapping[str, float]
