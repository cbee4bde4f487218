"""Pages a second of the base model through each engine, over the same generated pages, in turns within one run.

The floor is ONNX Runtime in float32 with the same threads: the ratio says what the faster engine is worth on this machine.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from libs.demo.generator import generate
from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.engines.engine import EngineName, load_engine
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.models import base_bundle_path
from libs.ocrkit.reader import Reader

NUM_PAGES = 12
NUM_ROUNDS = 3
ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")


def measure() -> dict[str, float]:
    """Median seconds a page of each engine and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        images = generate(Path(folder), num_images=NUM_PAGES, seed=3, part="heldout")
        pages = [image.path.read_bytes() for image in images]
    bundle = open_bundle(base_bundle_path("ppocrv6-small"))
    readers = {name: Reader(bundle, load_engine(bundle, engine=name, num_threads=os.cpu_count() or 1)) for name in ENGINES}
    seconds: dict[str, list[float]] = {name: [] for name in ENGINES}
    for reader in readers.values():
        reader.read(decode_image(pages[0]))  # The first run of an engine prepares its shapes.
    for _ in range(NUM_ROUNDS):
        for page in pages:
            for name, reader in readers.items():
                start = time.perf_counter()
                reader.read(decode_image(page))
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    figures = {f"{name}_seconds_a_page": round(median, 4) for name, median in medians.items()}
    return figures | {"openvino_over_onnxruntime": round(medians["onnxruntime"] / medians["openvino"], 3)}
