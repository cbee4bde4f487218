"""Labels of one format into labels of another, with an account of what could not be carried over."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from libs.ocrkit.labels.format import Format
from libs.ocrkit.labels.holding import Loss, reduce_page
from libs.ocrkit.labels.page import Finding, Outcome, ReadOptions, Row
from libs.ocrkit.labels.reading import read_labels
from libs.ocrkit.labels.source import Source
from libs.ocrkit.labels.target import Target
from libs.runtime.errors import Fault


@dataclass
class Conversion:
    """What a conversion did.

    Args:
        outcomes: rows by what became of them.
        num_boxes: boxes that were written.
        losses: pieces that the target has no field for, by their kind.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    num_boxes: int = 0
    losses: Counter[Loss] = field(default_factory=Counter)


def convert_labels(
    source: Source,
    from_format: Format,
    target: Target,
    to_format: Format,
    *,
    options: ReadOptions | None = None,
    copy_images: bool = True,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Conversion:
    """Read all labels of a source and write them into a target, page by page.

    Args:
        source: label files and images.
        from_format: of the labels there.
        target: an empty folder.
        to_format: of the labels to write.
        options: what a person asked for.
        copy_images: whether images come along, also those without labels; formats of crops bring their own.
        on_row: told of each row when its page is written, or turned out not to be writable.
    """
    done = Conversion()
    writer = to_format.writer(target)
    try:
        for row in read_labels(source, from_format, options):
            if row.page is not None:
                page, lost = reduce_page(row.page, to_format.holds)
                try:
                    writer.add(page, source)
                except Fault as fault:
                    finding = Finding("failed", fault.reason, fault.message)
                    row = replace(row, page=None, findings=(*row.findings, finding))
                else:
                    done.num_boxes += len(page.boxes)
                    done.losses += lost
            # After its labels: beside labels that could not be written, an image might be taken for that of others.
            if copy_images and to_format.holds.place == "page" and (row.page is not None or row.outcome == "unlabeled"):
                _copy(row.name, source, target)
            done.outcomes[row.outcome] += 1
            on_row(row)
    finally:
        writer.close()
    return done


def _copy(name: str, source: Source, target: Target) -> None:
    if source.exists(name):
        with source.open(name) as image, target.open_new(name) as copy:
            shutil.copyfileobj(image, copy)
