"""Our reader, called as ``inkctl read`` calls it: threads, bundle."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from libs.ocrkit.engines.engine import load_engine
from libs.ocrkit.image_io import Scan
from libs.ocrkit.reader import Reader
from libs.ocrkit.reading import line_to_json, open_named_bundle
from tests.bench.peers.answering import answer, num_threads_wanted


def main() -> None:
    """Load the bundle and answer."""
    bundle = open_named_bundle(sys.argv[2])
    engine = load_engine(bundle, num_threads=num_threads_wanted() or os.cpu_count() or 1)
    reader = Reader(bundle, engine)

    def read(path: str) -> Sequence[Mapping[str, object]]:
        return [line_to_json(line) for line in reader.read_scan(Scan(Path(path).read_bytes()))]

    answer(read, {"bundle": bundle.digest, "engine": engine.name})
    engine.close()


if __name__ == "__main__":
    main()
