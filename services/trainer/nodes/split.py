"""``split``: which labelled pages are learnt and which judge the result.

By source image, never by line: lines of one image look alike, and near-duplicates of an image would tell the model the answers.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from libs.ocrkit.near_duplicates import groups
from libs.ocrkit.training.data import collect_lines
from services.trainer.nodes.pages import labelled_page
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, read_json, write_json

SEED = "inkwright"
"""The same for every task: an image that judged one model is not learnt by the next one on the same images."""


@dataclass(frozen=True)
class Page:
    """What the split looks at.

    Args:
        sha256: (hex) of the image's bytes.
        dhash: 64-bit perceptual hash.
        has_lines: whether anything on it can be learnt.
    """

    key: str
    sha256: str
    dhash: int
    has_lines: bool = True


@dataclass(frozen=True)
class Split:
    """Keys of pages, sorted; together every page once."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    num_groups: int


def split(pages: Sequence[Page], *, fraction: float, seed: str = SEED) -> Split:
    """Hold out a share of the pages; equal pages give an equal split, in whatever order they come.

    Groups of near-duplicates are drawn by the hash of their contents until the share is reached. At least one page is held out,
    and at least one is left to learn from, even if a group has to be torn for it.

    Args:
        pages: at least two of them with lines.
        fraction: share of the pages held out, in (0, 0.5].
        seed: another one draws other pages.
    """
    useful = sorted((page for page in pages if page.has_lines), key=lambda page: page.key)
    grouped = [[useful[index] for index in group] for group in groups([page.dhash for page in useful])]
    num_groups = len(grouped)
    if num_groups == 1:
        grouped = [[page] for page in useful]
    drawn = sorted(grouped, key=lambda group: min(_draw(page, seed) for page in group))
    wanted = max(1, round(fraction * len(useful)))
    validation: list[Page] = []
    for group in drawn[:-1]:
        # A group that would overshoot by more than it helps is passed over, unless nothing is held out yet.
        if not validation or len(validation) + len(group) - wanted <= wanted - len(validation):
            validation += group
        if len(validation) >= wanted:
            break
    held_out = {page.key for page in validation}
    train = sorted(page.key for page in pages if page.key not in held_out)
    return Split(tuple(train), tuple(sorted(held_out)), num_groups)


def run(spec: NodeSpec, report: Report) -> None:
    """Split the pages that ``preflight`` found usable."""
    raw: list[dict[str, Any]] = read_json(spec.pages_file)
    pages = [Page(page["key"], page["sha256"], page["dhash"], _has_lines(page, spec)) for page in raw]
    done = split(pages, fraction=spec.validation_fraction)
    num_useful = sum(page.has_lines for page in pages)
    if done.num_groups == 1 or len(done.validation) > 0.5 * num_useful:
        report.log("Most pages are near-duplicates of each other; what is measured on them is too good.", level="warning")
    write_json(spec.split_file, {"train": done.train, "validation": done.validation})
    report.log(f"{len(done.train)} pages to learn from, {len(done.validation)} to judge by; {done.num_groups} groups of near-duplicates")
    report.info(num_train=len(done.train), num_validation=len(done.validation), num_groups=done.num_groups)


def _has_lines(page: dict[str, Any], spec: NodeSpec) -> bool:
    return bool(collect_lines([labelled_page(page, spec.images_folder)]).samples)


def _draw(page: Page, seed: str) -> str:
    return hashlib.sha256(f"{seed} {page.sha256}".encode()).hexdigest()
