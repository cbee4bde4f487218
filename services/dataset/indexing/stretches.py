"""A listing as a row of stretches: some thousand files that the last sync saw unchanged are passed over at the price of one digest.

A stretch is all keys behind ``after`` up to and with ``end``. The stretches of an index cover its folder without overlapping; where one is
missing, nothing is known. Nothing here holds more than a few thousand files at a time.
"""

import hashlib
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from libs.runtime.object_store import ObjectInfo, ObjectStore
from services.dataset.pairing import IMAGE_SUFFIXES, LABEL_SUFFIX, stem_of

LAST: Final = "\U0010ffff"
"""Behind every key."""
SIZE: Final = 1000
"""Files of a stretch; up to twice as many where it was cut before, or where one stem has many files."""
UNSETTLED: Final = ""
"""In place of a digest: look at it again, whatever is listed."""

_SUFFIXES: Final = sorted(
    {"".join(letters) for suffix in (*IMAGE_SUFFIXES, LABEL_SUFFIX) for letters in product(*({c, c.upper()} for c in suffix))}
)


@dataclass(frozen=True)
class Stretch:
    """What an index knows of a stretch.

    Args:
        after: keys are behind it.
        end: the last key it may hold.
        digest: over keys and tags of its files.
        num_images: among them.
    """

    after: str
    end: str
    digest: str
    num_images: int


@dataclass(frozen=True)
class Seen:
    """A stretch as it is listed now; ``known`` when that is what the index knows."""

    after: str
    end: str
    files: Sequence[ObjectInfo]
    digest: str
    known: Stretch | None


LoadKnown = Callable[[str], Awaitable[list[Stretch]]]
"""The next few known stretches that begin at or behind a key, in order; none when there are no more."""


async def walk(store: ObjectStore, load_known: LoadKnown, *, after: str) -> AsyncIterator[Seen]:
    """List a store stretch by stretch, in key order, to its end.

    Args:
        store: what is listed.
        load_known: gives what the index knows.
        after: where to begin.
    """
    lower, files = after, list[ObjectInfo]()
    known = _Known(load_known)
    listed_to: str | None = after
    while lower != LAST:
        upper, expected = await known.at(lower)
        while listed_to is not None and (not files or files[-1].key <= upper):
            page = await store.list(after=listed_to)
            listed_to = page.next_after
            # A key that is new since the first part of the listing was looked at waits for the next sync.
            files += (file for file in page.items if file.key > lower)
            if len(files) > 2 * SIZE:
                break
        num = bisect_right(files, upper, key=_key)
        if num > 2 * SIZE:
            num, upper, expected = *_cut(files), None
        found, files = files[:num], files[num:]
        digest = digest_of_files(found)
        yield Seen(lower, upper, found, digest, expected if expected and expected.digest == digest else None)
        lower = upper


class _Known:
    def __init__(self, load: LoadKnown) -> None:
        self._load = load
        self._next: deque[Stretch] = deque()
        self._is_over = False

    async def at(self, lower: str) -> tuple[str, Stretch | None]:
        """Where the stretch behind ``lower`` ends, and what is known of it."""
        while True:
            while self._next and self._next[0].after < lower:
                self._next.popleft()
            if self._next:
                first = self._next[0]
                return (first.end, first) if first.after == lower else (first.after, None)
            if self._is_over:
                return LAST, None
            self._next.extend(await self._load(lower))
            self._is_over = not self._next


def digest_of_files(files: Sequence[ObjectInfo]) -> str:
    """Another one whenever a file came, went or changed."""
    text = "".join([f"{file.key}\0{file.etag}\n" for file in files])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _key(file: ObjectInfo) -> str:
    return file.key


def _cut(files: Sequence[ObjectInfo]) -> tuple[int, str]:
    """How many files go into the first of several stretches, and where it ends: not between files of one stem, if that can be."""
    for num in range(SIZE, 2 * SIZE):
        end = stem_of(files[num - 1].key) + "/"
        if end < files[num].key:
            return num, end
    return SIZE, files[SIZE - 1].key


def edge_stems(seen: Seen) -> set[str]:
    """Stems that may have files on both sides of an edge of the stretch.

    All keys of the stem ``s`` begin with ``s.``, so an edge between two of them does too.
    """
    edges = (seen.after, seen.end)
    return {stem for edge in edges for at, letter in enumerate(edge) if letter == "." and (stem := edge[:at]) and stem[-1] != "/"}


async def files_of_stem(store: ObjectStore, stem: str) -> list[ObjectInfo]:
    """Images and label files of one stem, wherever they are in the listing; whatever else begins like them is jumped over."""
    found: list[ObjectInfo] = []
    keys = deque(stem + suffix for suffix in _SUFFIXES)
    while keys:
        page = await store.list(stem + ".", after=_just_before(keys[0]), limit=100)
        wanted = set(keys)
        found += (file for file in page.items if file.key in wanted)
        if page.next_after is None:
            break
        while keys and keys[0] <= page.next_after:
            keys.popleft()
    return found


def _just_before(key: str) -> str:
    return key[:-1] + chr(ord(key[-1]) - 1) + LAST
