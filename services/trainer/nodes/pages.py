"""The pages of a task as the kernel wants them. No torch here."""

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


def split_pages(spec: NodeSpec) -> tuple[list[LabelledPage], list[LabelledPage]]:
    """Training and validation pages, as ``split`` said."""
    pages = {page["key"]: labelled_page(page, spec.images_folder) for page in read_json(spec.pages_file)}
    split = read_json(spec.split_file)
    return [pages[key] for key in split["train"]], [pages[key] for key in split["validation"]]
