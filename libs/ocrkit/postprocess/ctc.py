"""From the recognizer's class probabilities to text."""

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.charset import BLANK, Charset


def decode_greedy(probs_BTC: NDArray[np.float32], charset: Charset) -> list[tuple[str, float]]:
    """Best class of each step, repeats joined, blanks dropped.

    Args:
        probs_BTC: softmax over the classes of ``charset``.

    Returns:
        Text and confidence of each line: the mean probability of the steps that gave a character; 0 where there is none.
    """
    ids_BT = probs_BTC.argmax(axis=2)
    best_BT = np.take_along_axis(probs_BTC, ids_BT[..., None], axis=2)[..., 0]
    kept_BT = ids_BT != BLANK
    kept_BT[:, 1:] &= ids_BT[:, 1:] != ids_BT[:, :-1]
    return [
        (charset.decode(ids_T[kept_T].tolist()), min(1.0, float(best_T[kept_T].mean())) if kept_T.any() else 0.0)
        for ids_T, best_T, kept_T in zip(ids_BT, best_BT, kept_BT, strict=True)
    ]
