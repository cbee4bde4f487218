"""What a trained model still reads of the characters its training labels do not show, measured on replay lines."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from libs.ocrkit.charset import BASE_ALPHABET, Charset
from libs.ocrkit.metrics import cer, line_accuracy
from libs.ocrkit.replay import ReplayLine, replay_lines, unrendered
from libs.ocrkit.training.data import plain_text

__all__ = ["CropReader", "ReplayScore", "Retained", "RetainedCheck", "most_lost", "score_readings"]

_NUM_ALPHABET_LINES = 120
_NUM_ABSENT_LINES = 200
_SEED = 20
_KNOWN = 0.5
_ALPHABET = frozenset(BASE_ALPHABET)


class CropReader(Protocol):
    """What reads lines that were cut out: ``Reader`` does."""

    def read_crops(self, crops: Sequence[NDArray[np.uint8]]) -> list[tuple[str, float]]:
        """Text and confidence of each."""
        ...


@dataclass(frozen=True)
class ReplayScore:
    """How well replay lines were read.

    Args:
        character_accuracy: 1 - CER, not below 0. Models are compared by this one: 200 lines hold about 1,800 characters, so that
            two points of it are 36 readings, but of the lines only 4.
        line_accuracy: share of lines read exactly.
        num_lines: how many there were.
        recall: share of each character's occurrences that was read right.
    """

    character_accuracy: float
    line_accuracy: float
    num_lines: int
    recall: Mapping[str, float]


@dataclass(frozen=True)
class Retained:
    """A model on the replay lines.

    Args:
        alphabet: on lines of the whole base alphabet, as far as the base has a class for it and a font has it.
        absent: on lines of only those characters that the training labels do not show and that the base reads; None without any.
    """

    alphabet: ReplayScore
    absent: ReplayScore | None

    @property
    def decisive(self) -> ReplayScore:
        """The score that says what was forgotten: the absent characters', that of all where the labels show all."""
        return self.absent or self.alphabet


class RetainedCheck:
    """The same replay lines for a base and for what was trained from it.

    A character that the base itself hardly reads (its class exists, but was hardly taught) cannot be forgotten, and one that
    training teaches would hide the loss of another. So the base is measured first, and what it read of the whole alphabet decides
    which absent characters count; they are then measured on lines of their own.

    Args:
        charset: of the base.
        labels: texts that were trained on.
    """

    def __init__(self, charset: Charset, labels: Iterable[str]) -> None:
        self._alphabet = _ALPHABET & frozenset(charset.characters)
        self._unseen = self._alphabet.difference(*labels)
        self._lines = replay_lines(self._alphabet, _NUM_ALPHABET_LINES, seed=_SEED, part="check")
        self._absent_lines: list[ReplayLine] = []
        self.unrendered = unrendered(self._alphabet, part="check")
        self.absent: frozenset[str] = frozenset()

    def of_base(self, reader: CropReader) -> Retained | None:
        """Measure the base and settle which absent characters count; None where this machine has no font.

        Raises:
            ForwardFailed: the model could not be run.
        """
        if not self._lines:
            return None
        alphabet = _score(reader, self._lines)
        self.absent = frozenset(character for character in self._unseen if alphabet.recall.get(character, 0.0) >= _KNOWN)
        self._absent_lines = replay_lines(self.absent, _NUM_ABSENT_LINES, seed=_SEED + 1, part="check")
        return Retained(alphabet, self._absent_score(reader))

    def of_trained(self, reader: CropReader) -> Retained | None:
        """Measure a trained model on the lines that ``of_base`` has settled.

        Raises:
            ForwardFailed: the model could not be run.
        """
        return Retained(_score(reader, self._lines), self._absent_score(reader)) if self._lines else None

    def _absent_score(self, reader: CropReader) -> ReplayScore | None:
        return _score(reader, self._absent_lines) if self._absent_lines else None


def _score(reader: CropReader, lines: Sequence[ReplayLine]) -> ReplayScore:
    readings = reader.read_crops([line.image for line in lines])
    return score_readings([(line.text, read) for line, (read, _) in zip(lines, readings, strict=True)])


def score_readings(pairs: Sequence[tuple[str, str]]) -> ReplayScore:
    """Score (truth, read), white space folded."""
    # A look-alike (a Greek mu for the micro sign) stays wrong: its class is cut off with the base's other characters, so a base that
    # was forgiven it would seem to lose by the cut what it never wrote.
    pairs = [(truth, plain_text(read)) for truth, read in pairs]
    shown: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for truth, read in pairs:
        shown.update(truth)
        for block in Levenshtein.opcodes(truth, read):
            if block.tag == "equal":
                right.update(truth[block.src_start : block.src_end])
    recall = {character: right[character] / count for character, count in sorted(shown.items())}
    return ReplayScore(max(0.0, 1 - cer(pairs)), line_accuracy(pairs), len(pairs), recall)


def most_lost(before: ReplayScore, after: ReplayScore, *, limit: int = 8) -> list[tuple[str, float, float]]:
    """The characters whose recall fell most, each with its recall before and after, the worst first."""
    lost = [(character, share, after.recall.get(character, 0.0)) for character, share in before.recall.items()]
    return sorted((entry for entry in lost if entry[2] < entry[1]), key=lambda entry: entry[2] - entry[1])[:limit]
