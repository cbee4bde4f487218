"""The images of an index, as readers of label files ask for them."""

from collections.abc import Sequence
from typing import Final

from libs.ocrkit.labels.image_finder import FoundImage
from libs.ocrkit.labels.page import Finding
from libs.ocrkit.labels.source import clean_name, joined, shown_name
from services.dataset.image import Image, image_id_of
from services.dataset.pairing import file_stem_of
from services.dataset.store import Work
from services.dataset.transfer.label_import import Match, match_key
from services.dataset.transfer.label_sources import Asking

MAX_CANDIDATES: Final = 1_000
"""Images of one file name that are looked at; a key that is named in full is found among any number."""
MISSING, AMBIGUOUS, REJECTED = "IMAGE_MISSING", "IMAGE_AMBIGUOUS", "IMAGE_REJECTED"


class IndexedImages:
    """Finds images by their key, the end of their path, or their file stem. Called from a thread."""

    def __init__(self, work: Work, dataset_uid: str, asking: Asking) -> None:
        self._work, self._dataset_uid, self._ask = work, dataset_uid, asking
        self._of_stem: dict[str, FoundImage] = {}

    def named(self, said: str, base: str, *, said_size: tuple[float, float] | None = None, line: int | None = None) -> FoundImage:
        """The image of a name; sizes that the label file says are never believed."""
        at = "" if line is None else f"Line {line}: "
        names = [name for spelling in dict.fromkeys((said, said.replace("\\", "/"))) if (name := clean_name(spelling)) is not None]
        if not names:
            message = f"{at}{shown_name(said)!r} is no name of a file; nothing outside the dataset is labelled."
            return FoundImage(shown_name(said) or "?", findings=(Finding("failed", "NAME_REFUSED", message, line),))
        for name in names:
            match, images = self._ask(self._look(joined(base, name), exact=(joined(base, said), said)))
            if match.keys:
                return _found(name, match, images, line)
        message = f"{at}the dataset has no image {names[-1]}; add it to the dataset, sync, and import again."
        return FoundImage(names[-1], findings=(Finding("failed", MISSING, message, line),))

    def of_stem(self, stem: str) -> list[str]:
        """At most one name, so that a label file gives as many rows whatever the index holds."""
        match, images = self._ask(self._look(stem))
        if not match.keys:
            return []
        found = _found(stem, Match(match.keys), images, None)
        self._of_stem = {found.name: found}
        return [found.name]

    def measured(self, name: str, *, line: int | None = None) -> FoundImage:
        """What ``of_stem`` found last."""
        return self._of_stem[name]

    async def _look(self, said: str, *, exact: Sequence[str] = ()) -> tuple[Match, dict[str, Image]]:
        """``exact``: keys that are meant whatever else fits, as they stand there: in OSS, ``a//b.jpg`` is no ``a/b.jpg``."""
        parts = said.split("/")
        ends = [end for start in range(min(len(parts), 20)) if (end := "/".join(parts[start:]))]
        async with self._work(read_only=True) as w:
            rows = await w.images.many(self._dataset_uid, [image_id_of(key) for key in (*exact, *ends)]) if exact else {}
            whole = {image.key: image for image in rows.values()}
            for key in (*exact, said):
                if key in whole:
                    return Match((key,)), whole
            stems = dict.fromkeys((file_stem_of(said), parts[-1]))
            found = [image for stem in stems for image in await w.images.of_file_stem(self._dataset_uid, stem, MAX_CANDIDATES)]
        images = {image.key: image for image in found} | whole
        return match_key(said, list(images)), images


def _found(said: str, match: Match, images: dict[str, Image], line: int | None) -> FoundImage:
    at = "" if line is None else f"Line {line}: "
    image = images[match.keys[0]]
    if len(match.keys) > 1:
        message = f"{at}{said} may be {_listed(match.keys)}; say the folder in the label file."
        return FoundImage(said, findings=(Finding("failed", AMBIGUOUS, message, line),))
    if not image.is_usable:
        reasons = " ".join(finding.message for finding in image.image_findings)
        return FoundImage(image.key, findings=(Finding("failed", REJECTED, f"{at}{image.key} cannot be labelled: {reasons}", line),))
    message = f"{at}{said} is not there; {image.key} was taken for it."
    findings = (Finding("warning", "IMAGE_ELSEWHERE", message, line),) if match.is_elsewhere else ()
    return FoundImage(image.key, image.width_px, image.height_px, findings)


def _listed(keys: Sequence[str]) -> str:
    further = f" or {len(keys) - 3} others" if len(keys) > 3 else ""
    return " or ".join(keys[:3]) + further
