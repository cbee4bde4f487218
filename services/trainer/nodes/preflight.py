"""``preflight``: what of the snapshot can be used, and what a person should know before training takes its time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.near_duplicates import dhash
from libs.ocrkit.training.choose_base import choose_base
from libs.ocrkit.training.data import LineSample, Rejection, collect_lines
from libs.runtime.errors import ImageUndecodable, InvalidInput, TooLarge
from services.trainer.domain import NEEDED_IMAGES, NoLabels
from services.trainer.nodes.pages import labelled_page
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, read_json, write_json

ADVISED_IMAGES = 50


class NoImages(InvalidInput):
    """The version holds no image at all."""

    reason = "NO_IMAGES"


def run(spec: NodeSpec, report: Report) -> None:
    """Decode every image and look at every box; hands on the pages that can be used, each with its perceptual hash.

    Raises:
        NoImages: the version is empty.
        NoLabels: no image is labelled, or fewer than two have a box that can be learnt.
        ImageUndecodable: every labelled image is broken.
    """
    manifest = read_json(spec.manifest_file)
    num_images, labeled = manifest["num_images"], manifest["pages"]
    if not num_images:
        raise NoImages(f"{spec.version} holds no image; sync the dataset and start a new task.", version=spec.version)
    if not labeled:
        raise NoLabels(f"None of the {num_images} images is labelled; label and submit some, then start a new task.", num_images=num_images)
    pages: list[dict[str, Any]] = []
    for number, page in enumerate(labeled, start=1):
        try:
            image_HW3 = decode_image((spec.images_folder / page["file"]).read_bytes())
            pages.append({**page, "dhash": dhash(image_HW3)})
        except (ImageUndecodable, TooLarge) as fault:
            report.log(f"{page['key']} is left out: {fault.message}", level="warning")
        report.progress(number / len(labeled), f"Checking images: {number} of {len(labeled)}")
    report.info(num_unlabeled=num_images - len(labeled), num_undecodable=len(labeled) - len(pages))
    if not pages:
        raise ImageUndecodable("Every labelled image is broken; copy the files again, sync the dataset and start a new task.")
    # Nothing is chosen by the test set, neither a base nor whether there is enough to learn from.
    lines = _check_lines([page for page in pages if not page["is_test"]], spec, report)
    if num_images > len(labeled):
        report.log(f"{num_images - len(labeled)} images have no labels and are not used; label them to teach more.", level="warning")
    if len(pages) < ADVISED_IMAGES:
        report.log(f"Only {len(pages)} images can be used; over {ADVISED_IMAGES} of a kind read clearly better.", level="warning")
    write_json(spec.base_file, {"base": spec.base or _choose_base(lines, spec, report)})
    write_json(spec.pages_file, pages)


def _choose_base(lines: Sequence[LineSample], spec: NodeSpec, report: Report) -> str:
    """The base that reads some labelled lines best as it is."""
    if len(spec.bases) == 1:
        return next(iter(spec.bases))
    report.progress(1.0, "Trying the bases")
    base, rates = choose_base({name: open_bundle(Path(file)) for name, file in spec.bases.items()}, lines, num_threads=spec.num_threads)
    tried = ", ".join(f"{name.rsplit('/', 1)[-1]} {rate:.4f}" for name, rate in rates.items())
    report.log(f"Training begins with {base.rsplit('/', 1)[-1]}; character error rate of each base on labelled lines as it is: {tried}")
    report.info(base=base)
    return base


def _check_lines(pages: list[dict[str, Any]], spec: NodeSpec, report: Report) -> Sequence[LineSample]:
    lines = collect_lines([labelled_page(page, spec.images_folder) for page in pages])
    num_useful = len({sample.image for sample in lines.samples})
    for rejection, count in sorted(lines.rejected.items()):
        report.log(f"{count} boxes are not learnt: {rejection}", level="info" if rejection is Rejection.UNREADABLE else "warning")
    num_unreadable = lines.rejected[Rejection.UNREADABLE]
    report.info(num_lines=len(lines.samples), num_unreadable=num_unreadable, num_left_out=lines.rejected.total() - num_unreadable)
    if not lines.samples:
        raise NoLabels("No labelled box has a text that can be learnt; label some lines, then start a new task.", num_pages=len(pages))
    if num_useful < NEEDED_IMAGES:
        message = f"Only {num_useful} image has a line that can be learnt; at least {NEEDED_IMAGES} are needed,"
        raise NoLabels(f"{message} one to learn from and one to judge by. Label more, then start a new task.", num_images=num_useful)
    return lines.samples
