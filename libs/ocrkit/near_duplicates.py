"""Which images show nearly the same: scans of one sheet, frames of one video, saved twice with other settings."""

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.image_io import MAX_PIXELS, decode_image, read_header

MAX_DISTANCE = 4
"""Bits of 64 in which two near-duplicates may differ.

Saving again, resizing or a little more light moves up to four bits of a real page. Two unrelated images differ in at most four with a
chance of 4e-14: among the 5e11 pairs of a million images not one is expected. With eight bits it would be over a hundred.
"""

_NUM_BANDS = 6
_EQUAL_BANDS = _NUM_BANDS - MAX_DISTANCE
"""Four differing bits touch at most four of six bands, so that two bands of near-duplicates are equal: only such pairs are compared."""

_HASHED_SIDE_PX = 128
"""A JPEG is decoded no smaller than this: the hash averages over cells of a ninth of it, and smaller ones would feel the rounding."""


def dhash(image_HW3: NDArray[np.uint8]) -> int:
    """A 64-bit hash of how brightness changes from left to right: alike for images that look alike.

    Args:
        image_HW3: uint8, blue-green-red, upright.

    Source: Neal Krawetz, "Kind of Like That" (2013).
    """
    gray_HW = cv2.cvtColor(image_HW3, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(gray_HW, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def dhash_of_file(data: bytes, *, max_pixels: int = MAX_PIXELS) -> int:
    """``dhash`` of an image in a file; see ``decode_small`` for the rest."""
    return dhash(decode_small(data, max_pixels=max_pixels))


def decode_small(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """An image as it is hashed: a large JPEG comes at an eighth of its size, in a fraction of time and memory.

    Args:
        data: the whole file.
        max_pixels: see ``decode_image``.

    Raises:
        ImageUndecodable: no JPG, PNG or BMP, cut off, or damaged.
        TooLarge: more than ``max_pixels``.
    """
    header = read_header(data)
    side = min(header.width_px, header.height_px)
    by = next((by for by in (8, 4, 2) if header.format == "JPEG" and side >= by * _HASHED_SIDE_PX), 1)
    return decode_image(data, max_pixels=max_pixels, reduced_by=by)


def first_of_groups(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each image the index of the first near-duplicate of it, also over several steps; its own where there is none before it.

    A million hashes take a few seconds and about 150 MB.

    Args:
        hashes: (N,), as ``dhash`` gives them.
    """
    different, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    leader = list(range(len(different)))
    for bands in itertools.combinations(range(_NUM_BANDS), _EQUAL_BANDS):
        _join(different, _mask(bands), leader)
    roots = np.array([_find(leader, member) for member in range(len(different))], dtype=np.int64)
    firsts = np.full(len(different), len(hashes), dtype=np.int64)
    np.minimum.at(firsts, roots, first)
    return firsts[roots[which]]


def groups(hashes: Sequence[int]) -> list[list[int]]:
    """Indices of images, near-duplicates in one group, also over several steps.

    Returns:
        Groups in the order of their first image, each in ascending order; every index is in exactly one.
    """
    found: dict[int, list[int]] = {}
    for index, first in enumerate(first_of_groups(np.array(hashes, dtype=np.uint64)).tolist()):
        found.setdefault(first, []).append(index)
    return list(found.values())


def near_duplicates_among(hashes: Sequence[int], others: Sequence[int]) -> list[int | None]:
    """For each hash the index of the first of ``others`` that it is a near-duplicate of, ``None`` where there is none."""
    theirs = np.array(others, dtype=np.uint64)
    close = (np.flatnonzero(np.bitwise_count(theirs ^ np.uint64(ours)) <= MAX_DISTANCE) for ours in hashes)
    return [int(found[0]) if len(found) else None for found in close]


def _mask(bands: Sequence[int]) -> np.uint64:
    """The bits of some bands, 10 or 11 each."""
    edges = [64 * band // _NUM_BANDS for band in range(_NUM_BANDS + 1)]
    return np.uint64(sum((1 << edges[band + 1]) - (1 << edges[band]) for band in bands))


def _join(hashes: NDArray[np.uint64], mask: np.uint64, leader: list[int]) -> None:
    """Join the near-duplicates among hashes that are equal under ``mask``; ``leader`` is the forest of groups."""
    masked = hashes & mask
    order = np.argsort(masked, kind="stable")
    bits, keys = hashes[order], masked[order]
    # Equal keys lie side by side: each is compared with its next, then with the one after, until no two at that distance are equal.
    first = np.arange(len(keys))
    for distance in itertools.count(1):
        first = first[: np.searchsorted(first, len(keys) - distance)]
        first = first[keys[first] == keys[first + distance]]
        if not len(first):
            return
        close = first[np.bitwise_count(bits[first] ^ bits[first + distance]) <= MAX_DISTANCE]
        for one, other in zip(order[close].tolist(), order[close + distance].tolist(), strict=True):
            a, b = _find(leader, one), _find(leader, other)
            leader[max(a, b)] = min(a, b)


def _find(leader: list[int], member: int) -> int:
    while leader[member] != member:
        leader[member] = leader[leader[member]]
        member = leader[member]
    return member
