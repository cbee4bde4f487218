"""From the recognizer's class probabilities to text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.charset import BLANK, COLUMN_BREAK, Charset


@dataclass(frozen=True)
class Piece:
    """A part of a line between column breaks.

    Args:
        text: never empty.
        confs: probability of each character, in [0, 1].
        steps: time step of each character.
    """

    text: str
    confs: tuple[float, ...]
    steps: tuple[int, ...]

    @property
    def conf(self) -> float:
        """Mean probability of the characters."""
        return min(1.0, sum(self.confs) / len(self.confs))


def decode_greedy(probs_BTC: NDArray[np.float32], charset: Charset) -> list[tuple[str, float]]:
    """Best class of each step, repeats joined, blanks dropped.

    Args:
        probs_BTC: softmax over the classes of ``charset``.

    Returns:
        Text and confidence of each line: the mean probability of the steps that gave a character; 0 where there is none. A column
        break reads as a space.
    """
    return [joined(pieces) for pieces in decode_pieces(probs_BTC, charset)]


def joined(pieces: Sequence[Piece]) -> tuple[str, float]:
    """The pieces of a line as one text, a space for each break, and the mean probability of all its characters."""
    num_characters = sum(len(piece.text) for piece in pieces)
    conf = sum(piece.conf * len(piece.text) for piece in pieces) / max(1, num_characters)
    return " ".join(piece.text for piece in pieces), conf


def decode_pieces(probs_BTC: NDArray[np.float32], charset: Charset) -> list[list[Piece]]:
    """Like ``decode_greedy``, each line as the pieces between its column breaks; a line without text has none."""
    ids_BT = probs_BTC.argmax(axis=2)
    best_BT = np.take_along_axis(probs_BTC, ids_BT[..., None], axis=2)[..., 0]
    kept_BT = ids_BT != BLANK
    kept_BT[:, 1:] &= ids_BT[:, 1:] != ids_BT[:, :-1]
    lines: list[list[Piece]] = []
    for ids_T, best_T, kept_T in zip(ids_BT, best_BT, kept_BT, strict=True):
        steps = np.flatnonzero(kept_T)
        text = charset.decode(ids_T[steps].tolist())
        pieces: list[Piece] = []
        start = 0
        for part in text.split(COLUMN_BREAK):
            inner = steps[start : start + len(part)]
            start += len(part) + 1
            if part.strip():
                pieces.append(Piece(part, tuple(best_T[inner].tolist()), tuple(inner.tolist())))
        lines.append(pieces)
    return lines
