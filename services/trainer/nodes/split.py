"""``split``: which labelled pages are learnt and which judge the result.

By source image, never by line: lines of one image look alike, and near-duplicates of an image would tell the model the answers.
So that the test set stays what nobody has seen, near-duplicates of its pages are neither learnt nor judged by.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from libs.ocrkit.near_duplicates import groups, near_duplicates_among
from libs.ocrkit.training.data import collect_lines
from services.trainer.domain import NEEDED_IMAGES, SplitImpossible
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
        is_test: whether it belongs to the test set.
    """

    key: str
    sha256: str
    dhash: int
    has_lines: bool = True
    is_test: bool = False


@dataclass(frozen=True)
class Split:
    """Keys of pages, sorted; together every page once.

    Args:
        left_out: key of a page, and of the page of the test set that it looks like.
        num_groups: of near-duplicates, those of one page included, among the pages that were drawn from.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    num_groups: int


def split(pages: Sequence[Page], *, fraction: float, seed: str = SEED) -> Split:
    """Hold out a share of the pages; equal pages give an equal split, in whatever order they come.

    Groups of near-duplicates are drawn by the hash of their contents until the share is reached. At least one page is held out,
    and at least one is left to learn from, even if a group has to be torn for it.

    Args:
        fraction: share held out, in (0, 0.5], of the pages with lines that are neither test pages nor near-duplicates of them.
        seed: another one draws other pages.

    Raises:
        SplitImpossible: fewer than two such pages.
    """
    left_out = _like_test_pages(pages)
    test = sorted(page.key for page in pages if page.is_test)
    drawn_from = [page for page in pages if not page.is_test and page.key not in left_out]
    useful = sorted((page for page in drawn_from if page.has_lines), key=lambda page: page.key)
    if len(useful) < NEEDED_IMAGES:
        raise SplitImpossible(
            f"Without the {len(test)} images of the test set and the {len(left_out)} that look like one of them, {len(useful)} labelled "
            f"images are left and at least {NEEDED_IMAGES} are needed, one to learn from and one to judge by; take images out of the test "
            "set, or label more, then start a new task.",
            num_test=len(test),
            num_left_out=len(left_out),
            num_left=len(useful),
        )
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
    train = sorted(page.key for page in drawn_from if page.key not in held_out)
    return Split(tuple(train), tuple(sorted(held_out)), tuple(test), tuple(sorted(left_out.items())), num_groups)


def run(spec: NodeSpec, report: Report) -> None:
    """Split the pages that ``preflight`` found usable."""
    raw: list[dict[str, Any]] = read_json(spec.pages_file)
    pages = [Page(page["key"], page["sha256"], page["dhash"], _has_lines(page, spec), page["is_test"]) for page in raw]
    done = split(pages, fraction=spec.validation_fraction)
    drawn_from = {*done.train, *done.validation}
    num_useful = sum(page.has_lines and page.key in drawn_from for page in pages)
    if done.num_groups == 1 or len(done.validation) > 0.5 * num_useful:
        report.log("Most pages are near-duplicates of each other; what is measured on them is too good.", level="warning")
    for key, like in done.left_out:
        report.log(f"{key} is left out: it looks like {like} of the test set, which the model must not know", level="warning")
    write_json(spec.split_file, {"train": done.train, "validation": done.validation, "test": done.test})
    numbers = f"{len(done.train)} pages to learn from, {len(done.validation)} to judge by, {len(done.test)} of the test set"
    report.log(f"{numbers}, {len(done.left_out)} left out; {done.num_groups} groups of near-duplicates; drawn with the seed {SEED}")
    report.info(num_train=len(done.train), num_validation=len(done.validation), num_test=len(done.test))
    report.info(num_left_out=len(done.left_out), num_groups=done.num_groups, seed=SEED)


def _like_test_pages(pages: Sequence[Page]) -> dict[str, str]:
    """Keys of pages outside of the test set that are near-duplicates of one inside, with the key of that one.

    Not over several steps, as in ``groups``: sheets of one form are alike step by step, and all of them would be lost for training.
    """
    test = sorted((page for page in pages if page.is_test), key=lambda page: page.key)
    rest = [page for page in pages if not page.is_test]
    alike = near_duplicates_among([page.dhash for page in rest], [page.dhash for page in test])
    return {page.key: test[index].key for page, index in zip(rest, alike, strict=True) if index is not None}


def _has_lines(page: dict[str, Any], spec: NodeSpec) -> bool:
    return bool(collect_lines([labelled_page(page, spec.images_folder)]).samples)


def _draw(page: Page, seed: str) -> str:
    return hashlib.sha256(f"{seed} {page.sha256}".encode()).hexdigest()
