"""RapidOCR with its defaults; only the number of threads can be given."""

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from rapidocr import RapidOCR

from tests.bench.peers.answering import answer, num_threads_wanted


def main() -> None:
    """Load its models and answer."""
    logging.disable(logging.CRITICAL)
    num_threads = num_threads_wanted()
    pools = [f"EngineConfig.onnxruntime.{pool}_op_num_threads" for pool in ("intra", "inter")]
    reader = RapidOCR(params=dict.fromkeys(pools, num_threads) if num_threads else None)

    def read(path: str) -> Sequence[Mapping[str, object]]:
        found = reader(path)
        if found.txts is None:
            return []
        return [
            {"label": text, "conf": float(conf), "pos": [[float(x), float(y)] for x, y in corners]}
            for text, conf, corners in zip(found.txts, found.scores, found.boxes, strict=True)
        ]

    answer(read, {package: version(package) for package in ("rapidocr", "onnxruntime")})


if __name__ == "__main__":
    main()
