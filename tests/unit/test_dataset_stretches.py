"""Listings as stretches: every file in exactly one, the unchanged ones recognised, stems whole wherever they are cut."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.runtime.object_store import ObjectInfo, ObjectPage
from services.dataset.indexing import stretches
from services.dataset.indexing.stretches import LAST, Seen, Stretch, edge_stems, files_of_stem, walk
from services.dataset.pairing import Candidate, pair, stem_of

AT = datetime(2026, 1, 2, tzinfo=UTC)


class Listing:
    """A store that can only be listed, page by page."""

    def __init__(self, keys: list[str], *, page: int = 7) -> None:
        self.files = {key: ObjectInfo(key, 1, "e", AT) for key in keys}
        self.page = page

    async def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> ObjectPage:
        """See ``ObjectStore``."""
        size = min(limit, self.page)
        keys = sorted(key for key in self.files if key.startswith(prefix) and key > (after or ""))
        return ObjectPage([self.files[key] for key in keys[:size]], keys[size - 1] if len(keys) > size else None)

    def write(self, key: str) -> None:
        """Change a file, or add one."""
        self.files[key] = ObjectInfo(key, 1, f"new-{random.random()}", AT)


async def stretches_of(listing: Listing, known: list[Stretch], *, after: str = "") -> list[Seen]:
    async def load(begin: str) -> list[Stretch]:
        return [one for one in known if one.after >= begin][:3]

    return [seen async for seen in walk(listing, load, after=after)]  # type: ignore[arg-type]


def remembered(seen: list[Seen]) -> list[Stretch]:
    return [Stretch(one.after, one.end, one.digest, 0) for one in seen]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "SIZE", 10)


NAMES = [
    f"{folder}{stem}{suffix}" for folder in ("", "p/", "p.q/") for stem in ("a", "a.b", "a.b.c", "b") for suffix in (".jpg", ".xml", ".PNG")
]
NAMES += [f"p/{number:03}{suffix}" for number in range(60) for suffix in (".jpg", ".xml")]


async def test_the_stretches_hold_every_file_once_and_are_recognised() -> None:
    listing = Listing(NAMES)
    seen = await stretches_of(listing, [])
    assert [file.key for one in seen for file in one.files] == sorted(NAMES)
    assert [one.after for one in seen] == ["", *(one.end for one in seen[:-1])]
    assert seen[-1].end == LAST
    assert max(len(one.files) for one in seen) <= 20
    again = await stretches_of(listing, remembered(seen))
    assert all(one.known for one in again)
    assert [file.key for one in again for file in one.files] == sorted(NAMES)


async def test_a_change_is_seen_in_its_stretch_only() -> None:
    listing = Listing(NAMES)
    seen = await stretches_of(listing, [])
    listing.write("p/031.xml")
    again = await stretches_of(listing, remembered(seen))
    assert ["p/031.xml" in {file.key for file in one.files} for one in again] == [one.known is None for one in again]
    del listing.files["p/007.jpg"]
    third = await stretches_of(listing, remembered(again))
    assert [one.after < "p/007.jpg" <= one.end for one in third] == [one.known is None for one in third]


async def test_a_stretch_that_has_grown_is_cut_and_a_missing_one_is_unknown() -> None:
    listing = Listing(NAMES)
    seen = await stretches_of(listing, [])
    for number in range(50):
        listing.write(f"p/031{number:02}.jpg")
    grown = await stretches_of(listing, remembered(seen))
    assert max(len(one.files) for one in grown) <= 20
    assert sum(one.known is not None for one in grown) == len(seen) - 1
    missing = remembered(grown)
    lost = missing.pop(3)
    again = await stretches_of(listing, missing)
    assert [(one.after, one.end) for one in again if one.known is None] == [(lost.after, lost.end)]


async def test_it_goes_on_behind_the_cursor() -> None:
    listing = Listing(NAMES)
    seen = await stretches_of(listing, [])
    for number in range(len(seen)):
        rest = await stretches_of(listing, remembered(seen[: number + 1]), after=seen[number].end)
        assert [(one.after, one.end) for one in rest] == [(one.after, one.end) for one in seen[number + 1 :]]


KEYS = st.lists(st.text("ab./", min_size=1, max_size=6), max_size=12).map(
    lambda stems: [stem + suffix for stem in stems if "//" not in stem for suffix in (".jpg", ".xml", ".JPG")]
)


@settings(max_examples=60)
@given(KEYS, st.integers(1, 4), st.randoms(use_true_random=False))
async def test_images_find_their_labels_wherever_the_listing_is_cut(keys: list[str], size: int, chance: random.Random) -> None:
    listing = Listing([key for key in keys if chance.random() < 0.7], page=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stretches, "SIZE", size)
        seen = await stretches_of(listing, [])
    whole = {candidate.image.key: candidate for candidate in pair(listing.files.values())}
    found: dict[str, Candidate] = {}
    for one in seen:
        edges = edge_stems(one)
        files = [file for file in one.files if stem_of(file.key) not in edges]
        for stem in edges:
            files += await files_of_stem(listing, stem)  # type: ignore[arg-type]
        for candidate in pair(files):
            assert found.setdefault(candidate.image.key, candidate) == candidate
    assert found == whole


async def test_what_only_begins_like_a_stem_is_jumped_over() -> None:
    asked = 0

    class Counting(Listing):
        async def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> ObjectPage:
            nonlocal asked
            asked += 1
            return await super().list(prefix, after=after, limit=limit)

    folder = [f"scans.2024/{number:05}.jpg" for number in range(2000)]
    listing = Counting([*folder, "scans.BMP", "scans.jpg", "scans.xml"], page=100)
    assert [file.key for file in await files_of_stem(listing, "scans")] == ["scans.BMP", "scans.jpg", "scans.xml"]  # type: ignore[arg-type]
    assert asked < 5
