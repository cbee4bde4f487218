"""`make bench-index`: a folder of a million files, indexed by the running service, beside a bare loop over the same files.

The bare loop does what cannot be left out: it lists a folder, reads the beginning of each image and its header, reads and parses each
label file with the reader of the service; it keeps nothing. It runs over a part of the folders before and after the service does.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inkwright.dataset.v1 import dataset_pb2
from libs.ocrkit.image_header import read_header
from libs.ocrkit.labels.voc import read_voc
from libs.runtime.testing import assert_eventually, nats_server
from tests.bench.file_tree import IN_A_FOLDER, grow
from tests.bench.index_answers import Taken, ask, listings, percentile, reports, searches, surveyed, turn_pages
from tests.bench.report import Report, Table, command_line
from tests.integration.dataset_process import DatasetProcess, Memory, dataset_process

BARE_FOLDERS = 40
TIMEOUT_SECONDS = 7200.0
SETTLED_FILES = 100_000
"""Memory may not grow much behind these."""


@dataclass
class Indexing:
    """What was measured of the service."""

    seconds: float
    again_seconds: float
    settled: Memory
    ended: Memory
    again: Memory
    num_images: int
    survey_seconds: float = 0.0
    surveyed: Memory | None = None


def bare_loop(folders: Sequence[Path]) -> float:
    """Files a second of the loop that keeps nothing."""
    began, num_files = time.perf_counter(), 0
    for folder in folders:
        for name in sorted(os.listdir(folder)):
            num_files += 1
            with open(folder / name, "rb") as file:
                if name.endswith(".xml"):
                    read_voc(file.read(), width_px=640, height_px=360)
                else:
                    read_header(file.read(16 * 1024))
    return num_files / (time.perf_counter() - began)


async def index(service: DatasetProcess, path: str, *, settled_images: int) -> tuple[str, Indexing]:
    """Let the service index what lies there, then sync it again unchanged.

    Args:
        service: runs, and has no dataset yet.
        path: a folder or a place in OSS.
        settled_images: memory is compared with what it was when so many were indexed.
    """
    settled: Memory | None = None

    async def indexed() -> None:
        nonlocal settled
        # Each question takes time from the sync.
        await asyncio.sleep(0.3)
        dataset = await service.get(name)
        if dataset.error_message:
            raise SystemExit(f"bench-index stopped: {dataset.error_message}")
        if settled is None and dataset.progress.num_seen >= settled_images:
            settled = service.memory()
        assert dataset.sync_number == 1

    async def synced_again() -> dataset_pb2.Dataset:
        dataset = await service.get(name)
        assert dataset.sync_number == 2
        return dataset

    began = time.perf_counter()
    name = await service.create(path)
    await assert_eventually(indexed, timeout_seconds=TIMEOUT_SECONDS)
    seconds, ended = time.perf_counter() - began, service.memory()
    began = time.perf_counter()
    await service.sync(name)
    dataset = await assert_eventually(synced_again, timeout_seconds=TIMEOUT_SECONDS)
    again_seconds = time.perf_counter() - began
    return name, Indexing(seconds, again_seconds, settled or ended, ended, service.memory(), dataset.counts.num_images)


async def measure(num_files: int, folder: Path) -> tuple[Indexing, list[float], Taken]:
    """Everything: the service, the bare loop's files a second before and after it, milliseconds of answers."""
    tree = grow(folder / "tree", num_files)
    part = tree.folders()[:: max(1, num_files // IN_A_FOLDER // BARE_FOLDERS)]
    # Until the kernel has the entries of these folders at hand, the first loop would measure the disk.
    bare_loop(part[:2])
    bare = [bare_loop(part)]
    async with nats_server(folder / "nats") as nats, dataset_process(folder, tree.root, nats) as service:
        name, indexing = await index(service, str(tree.root), settled_images=min(SETTLED_FILES, num_files // 2) // 2)
        began = time.perf_counter() - indexing.again_seconds
        # The survey goes on meanwhile, as it does when people look at what they have just brought in.
        taken = await ask(listings(service, name, tree)) | await turn_pages(service, name) | await ask(searches(service, name, tree))
        codes = await surveyed(service, name)
        indexing.survey_seconds, indexing.surveyed = time.perf_counter() - began, service.memory()
        taken |= await ask(reports(service, name, codes))
        bare.append(bare_loop(part))
        return indexing, bare, taken


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.indexing", description="Index a large folder beside a bare loop.")
    parser.add_argument("--files", type=int, default=1_000_000, help="images and label files together")
    parser.add_argument("--out", default="", help="name of the report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "nats").mkdir()
        indexing, bare, answers = asyncio.run(measure(options.files, Path(name)))
    report(options.files, options.out, indexing, bare, answers).write()


def report(num_files: int, out: str, indexing: Indexing, bare: list[float], answers: Taken) -> Report:
    """The figures as tables."""
    rate, bare_rate = num_files / indexing.seconds, statistics.mean(bare)
    grown = indexing.ended.anonymous - indexing.settled.anonymous
    peak = max(indexing.ended.peak, indexing.again.peak) - indexing.settled.peak
    goals = [
        ("files a second, service", f"{rate:.0f}", ""),
        ("files a second, bare loop (mean of before and after)", f"{bare_rate:.0f}", ""),
        ("service over bare loop", f"{rate / bare_rate:.2f}", "0.70 or above"),
        ("seconds of the first index", f"{indexing.seconds:.1f}", ""),
        ("seconds of a sync of the unchanged folder", f"{indexing.again_seconds:.1f}", ""),
        ("first index over unchanged sync", f"{indexing.seconds / indexing.again_seconds:.1f}", "20 or above"),
        (f"growth of RssAnon behind the first {SETTLED_FILES:,} files, MiB", f"{grown:.1f}", "below 50"),
        (f"growth of VmHWM behind the first {SETTLED_FILES:,} files, MiB", f"{peak:.1f}", "below 50"),
        ("RssAnon at the end, MiB", f"{indexing.ended.anonymous:.1f}", ""),
        ("seconds from the first index to the health report, with all other questions meanwhile", f"{indexing.survey_seconds:.0f}", ""),
        ("RssAnon after the survey, MiB", f"{indexing.surveyed.anonymous:.1f}" if indexing.surveyed else "", ""),
        ("slowest p95 of answers, ms", f"{max(percentile(taken, 0.95) for taken in answers.values()):.1f}", "200 or below"),
    ]
    rows = [(title, f"{statistics.median(taken):.1f}", f"{percentile(taken, 0.95):.1f}") for title, taken in answers.items()]
    return Report(
        name=f"index-{out}" if out else "index",
        title=f"The index of {num_files:,} files",
        command=command_line("bench-index", FILES=num_files if num_files != 1_000_000 else 0, OUT=out),
        tables=[Table("Goals", ("what", "measured", "goal"), goals), Table("Answers", ("question", "median ms", "p95 ms"), rows)],
        figures={
            "num_files": num_files,
            "num_images": indexing.num_images,
            "seconds": indexing.seconds,
            "again_seconds": indexing.again_seconds,
            "survey_seconds": indexing.survey_seconds,
            "bare_files_per_second": bare,
            "rss_anon_mib": {"settled": indexing.settled.anonymous, "ended": indexing.ended.anonymous, "again": indexing.again.anonymous},
            "vm_hwm_mib": {"settled": indexing.settled.peak, "ended": indexing.ended.peak, "again": indexing.again.peak},
            "answers_ms": answers,
        },
        remarks=(
            "Half of the files are images, half are the label files beside them, each with four lines of text; hard links of a few files.",
            "The bare loop lists, reads the beginning of each image and its header, and reads each label file with the service's reader.",
            f"It runs over {BARE_FOLDERS} of the folders, in a process of its own beside the idle service, first and last of all.",
            "Pages and searches are asked for while the survey of images goes on, those of the report afterwards.",
        ),
    )


if __name__ == "__main__":
    main()
