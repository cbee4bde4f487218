"""Search in a dataset: by the index of what labels say, by what is known of images, and by regular expression.

Each call looks at a bounded part and says where to go on, so an answer takes as long in a dataset of a million images as in a small one.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import re2

from libs.runtime.errors import InvalidInput
from libs.runtime.paging import Cursor, Page
from services.dataset.domain import Dataset
from services.dataset.image import Image, ImageState, LabelBox, LabelState
from services.dataset.search.words import character_word, folded, wanted_words
from services.dataset.store import DatasetWork, Work

MAX_TEXT: Final = 200
MAX_REGEX: Final = 1_000
DEFAULT_GREP_SECONDS: Final = 1.0
MAX_GREP_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.05
"""After which a search gives out what it has found."""
_BATCH: Final = 200
_WALKED: Final = 5_000
"""Rows of which only key, boxes and findings are looked at in one go."""
_REGEX_BYTES: Final = 8 * 1024 * 1024
_BEHIND_ALL: Final = chr(0x10FFFF)


@dataclass(frozen=True)
class Wanted:
    """What a search asks for; empty and None ask for nothing."""

    text: str = ""
    character: str = ""
    state: ImageState | None = None
    label_state: LabelState | None = None
    finding: str = ""
    folder: str = ""
    min_boxes: int = 0
    max_boxes: int | None = None
    changed_since: datetime | None = None

    def check(self) -> None:
        """Raises ``InvalidInput`` where nothing can be meant."""
        if len(self.text) > MAX_TEXT:
            raise InvalidInput(f"The text has {len(self.text)} characters; look for at most {MAX_TEXT}.", field="text")
        if len(self.character) > 1:
            raise InvalidInput(f"{self.character[:20]!r} is not one character; use text to look for several.", field="character")
        if self.text and not wanted_words(self.text):
            raise InvalidInput("Spaces alone cannot be looked for; add a character.", field="text")
        if not all(one.isalnum() or one == "_" for one in self.finding):
            raise InvalidInput(f"{self.finding[:50]!r} is no code of a finding; they look like BOX_OUTSIDE.", field="finding")

    def fits(self, image: Image) -> bool:
        """Whether everything holds that needs no boxes."""
        return (
            self.state in (None, image.state)
            and self.label_state in (None, image.label_state)
            and (not self.finding or any(one.code == self.finding for one in image.findings))
            and image.key.startswith(self.prefix)
            and image.num_boxes >= self.min_boxes
            and (self.max_boxes is None or image.num_boxes <= self.max_boxes)
            and (self.changed_since is None or (image.update_time is not None and image.update_time >= self.changed_since))
        )

    @property
    def prefix(self) -> str:
        """Of the keys below the folder."""
        return self.folder.strip("/") + "/" if self.folder.strip("/") else ""

    def boxes(self, boxes: Sequence[LabelBox]) -> list[LabelBox]:
        """Those that hold text and character."""
        text = folded(self.text)
        return [box for box in boxes if text in folded(box.text) and self.character in box.text]


@dataclass(frozen=True)
class Hit:
    """A text that a regular expression fits; start and end count code points."""

    image_id: str
    key: str
    box: LabelBox
    start: int
    end: int


@dataclass(frozen=True)
class Grepped:
    """What one call of ``grep_labels`` found, and how far it came."""

    hits: list[Hit]
    next_cursor: Cursor | None
    searched_until: str
    num_images: int


Found = tuple[Image, list[LabelBox]]


async def search_images(work: Work, name: str, wanted: Wanted, *, size: int, after: Cursor) -> tuple[Dataset, Page[Found]]:
    """The next images that fit, with the boxes that hold the text; a page may be short with a cursor to go on.

    Raises:
        NotFound: no such dataset.
        InvalidInput: nothing can be meant by a condition.
    """
    wanted.check()
    ends = time.monotonic() + _LOOK_SECONDS
    found: list[Found] = []
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        while True:
            step = _by_words if wanted.text or wanted.character else _by_key
            more, next_cursor = await step(w, dataset.uid, wanted, after, size - len(found))
            found += more
            if next_cursor is None or len(found) >= size or time.monotonic() > ends:
                return dataset, Page(found, next_cursor)
            after = next_cursor


async def _by_words(w: DatasetWork, uid: str, wanted: Wanted, after: Cursor, size: int) -> tuple[list[Found], Cursor | None]:
    words = [*wanted_words(wanted.text), *([character_word(wanted.character)] if wanted.character else [])]
    entries = await w.search.candidates(uid, words, after=int(after[0]) if after else 0, size=_BATCH)
    image_ids = [image_id for _, image_id in entries]
    images = await w.images.many(uid, image_ids)
    boxes = await w.search.boxes(uid, [image_id for image_id, image in images.items() if wanted.fits(image)])
    found: list[Found] = []
    for entry, image_id in entries:
        # Words side by side in the index need not be so in the text.
        if holding := wanted.boxes(boxes.get(image_id, ())):
            found.append((images[image_id], holding))
            if len(found) == size:
                return found, (entry,)
    return found, (entries[-1][0],) if len(entries) == _BATCH else None


async def _by_key(w: DatasetWork, uid: str, wanted: Wanted, after: Cursor, size: int) -> tuple[list[Found], Cursor | None]:
    begin, end = wanted.prefix, wanted.prefix + _BEHIND_ALL if wanted.prefix else ""
    walked = await w.search.walk(
        uid, after=str(after[0]) if after else begin, end=end, size=_WALKED, finding=wanted.finding, min_boxes=wanted.min_boxes
    )
    likely = [(key, image_id) for key, image_id, fits in walked if fits][:_BATCH]
    images = await w.images.many(uid, [image_id for _, image_id in likely])
    found: list[Found] = []
    for key, image_id in likely:
        if wanted.fits(images[image_id]):
            found.append((images[image_id], []))
            if len(found) == size:
                return found, (key,)
    if len(likely) == _BATCH:
        return found, (likely[-1][0],)
    return found, (walked[-1][0],) if len(walked) == _WALKED else None


async def grep_labels(work: Work, name: str, regex: str, *, size: int, after: Cursor, seconds: float) -> tuple[Dataset, Grepped]:
    """Go on through the labelled images in key order until the deadline, or until there are ``size`` hits.

    Raises:
        NotFound: no such dataset.
        InvalidInput: no regular expression, one that needs too much memory, or a deadline that is none.
    """
    pattern = _compiled(regex)
    if not 0 <= seconds <= MAX_GREP_SECONDS:
        raise InvalidInput(f"A call may take {MAX_GREP_SECONDS:g} seconds at most; go on with its page token.", field="deadline_seconds")
    ends = time.monotonic() + (seconds or DEFAULT_GREP_SECONDS)
    until = str(after[0]) if after else ""
    hits: list[Hit] = []
    num_images = 0
    async with work(read_only=True) as w:
        dataset = await w.datasets.get(name)
        while True:
            walked = await w.search.walk(dataset.uid, after=until, end="", size=_BATCH, min_boxes=1)
            boxes = await w.search.boxes(dataset.uid, [image_id for _, image_id, has_boxes in walked if has_boxes])
            for key, image_id, _ in walked:
                if image_id in boxes:
                    num_images += 1
                    hits += [hit for box in boxes[image_id] if (hit := _hit(pattern, image_id, key, box)) is not None]
                until = key
                if len(hits) >= size:
                    return dataset, Grepped(hits, (until,), until, num_images)
            if len(walked) < _BATCH:
                return dataset, Grepped(hits, None, until, num_images)
            if time.monotonic() > ends:
                return dataset, Grepped(hits, (until,), until, num_images)


def _compiled(regex: str) -> Any:
    if not regex or len(regex) > MAX_REGEX:
        raise InvalidInput(f"Give a regular expression of 1 to {MAX_REGEX} characters.", field="regex")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _REGEX_BYTES
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        raise InvalidInput(f"The regular expression cannot be used ({said}); it is read as RE2.", field="regex", problem=said) from error


def _hit(pattern: Any, image_id: str, key: str, box: LabelBox) -> Hit | None:
    match = pattern.search(box.text)
    return None if match is None else Hit(image_id, key, box, *match.span())
