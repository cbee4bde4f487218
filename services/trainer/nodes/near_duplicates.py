"""Which images show nearly the same: scans of one sheet, frames of one video, saved twice with other settings."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 4
"""Bits of 64 in which two near-duplicates may differ."""


def dhash(image_HW3: NDArray[np.uint8]) -> int:
    """A 64-bit hash of how brightness changes from left to right: alike for images that look alike.

    Args:
        image_HW3: uint8, blue-green-red.

    Source: Neal Krawetz, "Kind of Like That" (2013).
    """
    gray_HW = cv2.cvtColor(image_HW3, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(gray_HW, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def groups(hashes: Sequence[int]) -> list[list[int]]:
    """Indices of images, near-duplicates in one group, also over several steps.

    Returns:
        Groups in the order of their first image; every index is in exactly one.
    """
    leader = list(range(len(hashes)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    bits = np.array(hashes, dtype=np.uint64)
    for index in range(len(hashes)):
        close = np.flatnonzero(np.bitwise_count(bits[index + 1 :] ^ bits[index]) <= MAX_DISTANCE) + index + 1
        for other in close.tolist():
            a, b = find(index), find(other)
            leader[max(a, b)] = min(a, b)
    found: dict[int, list[int]] = {}
    for index in range(len(hashes)):
        found.setdefault(find(index), []).append(index)
    return list(found.values())
