"""The pages of a task as the kernel wants them. No torch here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.training.data import LabelledPage
from services.trainer.nodes.spec import NodeSpec, read_json


def labelled_page(page: dict[str, Any], images_folder: Path) -> LabelledPage:
    """One page of ``manifest.json`` or ``pages.json``."""
    boxes = tuple(TextBox(np.array(box["quad"], dtype=np.float64), box["text"], unreadable=box["unreadable"]) for box in page["boxes"])
    return LabelledPage(images_folder / page["file"], boxes)


@dataclass(frozen=True)
class SplitPages:
    """What is learnt, what a model is chosen by, and what only its report shows; no page twice."""

    train: list[LabelledPage]
    validation: list[LabelledPage]
    test: list[LabelledPage]


def split_pages(spec: NodeSpec) -> SplitPages:
    """The pages as ``split`` parted them."""
    pages = {page["key"]: labelled_page(page, spec.images_folder) for page in read_json(spec.pages_file)}
    split = read_json(spec.split_file)
    return SplitPages(*([pages[key] for key in split[part]] for part in ("train", "validation", "test")))
