"""Near-duplicates: the hash stays when a picture is saved again, and groups are those that comparing all pairs gives."""

import itertools
import time

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from libs.ocrkit.near_duplicates import MAX_DISTANCE, dhash, dhash_of_file, groups, near_duplicates_among

hashes = st.lists(
    st.tuples(st.sampled_from((0, 0x0F0F_0F0F_0F0F_0F0F, 2**64 - 1)), st.sets(st.integers(0, 63), max_size=7)), max_size=40
).map(lambda drawn: [base ^ sum(1 << bit for bit in flipped) for base, flipped in drawn])


def picture(seed: int, width_px: int = 1100, height_px: int = 1500) -> NDArray[np.uint8]:
    patches = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(patches, (width_px, height_px), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def all_pairs(drawn: list[int]) -> list[list[int]]:
    """The definition, without any haste."""
    leader = list(range(len(drawn)))
    for one, other in itertools.combinations(range(len(drawn)), 2):
        if distance(drawn[one], drawn[other]) <= MAX_DISTANCE:
            old, new = max(leader[one], leader[other]), min(leader[one], leader[other])
            leader = [new if each == old else each for each in leader]
    return [[index for index, each in enumerate(leader) if each == first] for first in sorted(set(leader))]


@given(hashes)
def test_groups_are_those_of_all_pairs(drawn: list[int]) -> None:
    assert groups(drawn) == all_pairs(drawn)


@given(hashes, hashes)
def test_the_first_near_duplicate_among_others_is_found(ours: list[int], theirs: list[int]) -> None:
    for one, found in zip(ours, near_duplicates_among(ours, theirs), strict=True):
        close = [index for index, other in enumerate(theirs) if distance(one, other) <= MAX_DISTANCE]
        assert found == (close[0] if close else None)


def test_a_picture_saved_again_is_a_near_duplicate_and_another_is_not() -> None:
    original, other = picture(1), picture(2)
    darker = (original[::2, ::2] * 0.8).astype(np.uint8)
    again = [dhash_of_file(jpeg(original, quality)) for quality in (95, 40)]
    assert groups([dhash(original), dhash(other), dhash(darker), *again]) == [[0, 2, 3, 4], [1]]


def test_a_reduced_decode_gives_the_hash_of_the_whole_picture() -> None:
    for seed in range(10):
        whole = picture(seed, 2200, 2600)
        assert distance(dhash_of_file(jpeg(whole, 90)), dhash(whole)) <= 1
        assert dhash_of_file(cv2.imencode(".png", whole)[1].tobytes()) == dhash(whole)


def test_many_images_are_grouped_without_comparing_every_pair() -> None:
    # Each hash twice, a bit apart: every pair of 100,000 would be five thousand million comparisons.
    rng = np.random.default_rng(5)
    first = rng.integers(0, 2**63, 50_000, dtype=np.uint64)
    drawn = [int(value) for value in np.concatenate([first, first ^ np.uint64(1 << 40)])]
    began = time.process_time()
    found = groups(drawn)
    assert found == [[index, index + 50_000] for index in range(50_000)]
    assert time.process_time() - began < 60
