"""`make bench-read`: speed, memory and scores of our reader beside those of others, in turns within one run.

Without a folder it reads generated pages. RapidOCR has its defaults; where as many processes run as there are cores, each of them
has one thread, ours and RapidOCR's alike.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from libs.demo.generator import generate
from libs.ocrkit.reading import list_images
from libs.runtime.errors import Fault
from tests.bench.large_page import write_large_page
from tests.bench.reader_process import inkwright, installed_peers
from tests.bench.reading_report import Measured, figures, tables
from tests.bench.report import Report, command_line, name_of_data
from tests.bench.score import score_folder
from tests.bench.turns import measure_alone, measure_together

NUM_GENERATED = 12

REMARKS = (
    "Ratios are to RapidOCR in the same run: each page goes through all readers before the next one does, several processes take turns.",
    "A process alone has as many threads as its reader takes by itself; where there are several, each has one.",
    "Memory is the largest resident set of one process. A first answer counts from the start of the process: of the first one there ever "
    "was, then the median of the three after it, for which ours has kept compiled graphs.",
)


def measure(data: Path, large_page: Path, *, bundle: Path | None, num_pages: int, num_rounds: int, is_loose: bool) -> list[Measured]:
    """Measure all readers on the labelled pages of a folder.

    Args:
        data: images with VOC labels beside them.
        large_page: with its labels beside it.
        bundle: measured as well.
        num_pages: only the first ones; 0 takes all.
        num_rounds: how often every page is read.
        is_loose: score loosely folded text.

    Raises:
        RuntimeError: a reader ended, RapidOCR has no environment, or nothing is labelled.
        Fault: the folder holds no image.
    """
    peers = installed_peers()
    kinds = [*([inkwright("trained", str(bundle.resolve()))] if bundle else []), inkwright("base", "base")]
    kinds += [peer for peer in peers if peer.is_resident]
    pages = [path for path in list_images(data) if path.with_suffix(".xml").is_file()][: num_pages or None]
    if not pages:
        raise RuntimeError("no image of the folder has a label file beside it")
    say(f"{len(pages)} pages, one process each: {', '.join(kind.title for kind in kinds)}")
    alone = measure_alone(kinds, pages, large_page, num_rounds=num_rounds)
    num_processes = os.cpu_count() or 1
    say(f"{num_processes} processes each")
    together = measure_together(kinds, pages, num_processes=num_processes, num_rounds=num_rounds)
    readers = [Measured(*parts) for parts in zip(kinds, alone, together, strict=True)]
    for peer in peers:
        if not peer.is_resident:
            say(f"{peer.title} once")
            readers += [Measured(peer, result) for result in measure_alone([peer], pages, None)]
    stems = [page.stem for page in pages]
    return [
        Measured(
            reader.kind,
            reader.alone,
            reader.together,
            score_folder(data, reader.alone.read, loose=is_loose, stems=stems).measures(),
            score_folder(large_page.parent, {large_page.stem: reader.alone.large_read}).measures() if reader.together else {},
        )
        for reader in readers
    ]


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr)


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reading", description="Measure our reader beside others.")
    parser.add_argument("--data", type=Path, help="folder of images with VOC labels beside them; default: generated pages")
    parser.add_argument("--bundle", type=Path, help="also measure this bundle")
    parser.add_argument("--pages", type=int, default=0, help="only the first ones")
    parser.add_argument("--rounds", type=int, default=1, help="how often every page is read")
    parser.add_argument("--loose", action="store_true", help="score loosely folded text")
    parser.add_argument("--out", default="", help="name of the report; default: that of the data")
    options = parser.parse_args()
    name = options.out or (name_of_data(options.data) if options.data else "generated")
    with tempfile.TemporaryDirectory() as folder:
        # Readers start as on a machine that is new to them.
        os.environ["XDG_CACHE_HOME"] = folder
        large_page = write_large_page(Path(folder))
        data = options.data
        if data is None:
            data = Path(folder) / "pages"
            generate(data, num_images=NUM_GENERATED, seed=3, part="heldout")
        try:
            readers = measure(
                data,
                large_page,
                bundle=options.bundle,
                num_pages=options.pages,
                num_rounds=options.rounds,
                is_loose=options.loose,
            )
        except (Fault, RuntimeError) as error:
            sys.exit(f"bench-read stopped: {error}")
    variables = {name.upper(): getattr(options, name) for name in ("data", "bundle", "pages", "out")}
    rounds = options.rounds if options.rounds > 1 else 0
    Report(
        name=f"read-{name}",
        title=f"Reading {len(readers[0].alone.read)} pages: {name}",
        command=command_line("bench-read", **variables, ROUNDS=rounds, LOOSE=int(options.loose)),
        tables=tables(readers, num_processes=os.cpu_count() or 1, is_loose=options.loose),
        figures=figures(readers),
        remarks=REMARKS,
    ).write()


if __name__ == "__main__":
    main()
