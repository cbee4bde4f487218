"""The second part of `make bench-index`: a million objects in OSS, 20,000 images among them, beside a bare loop of ``oss2``.

The bare loop lists a part of the bucket and reads the beginning of each image and its header, eight requests at a time as the service does.
"""

import argparse
import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oss2

from libs.ocrkit.image_header import read_header
from libs.runtime.oss_connection import OssConnection
from libs.runtime.testing import nats_server
from tests.bench.indexing import SETTLED_FILES, Indexing, index
from tests.bench.large_bucket import BUCKET, Served, served
from tests.bench.report import Report, Table, command_line
from tests.integration.dataset_process import dataset_process
from tests.oss_server.connections import write_connections

IMAGES_OF = 50
"""One object in so many is an image."""
BARE_OBJECTS = 20_000


def bare_loop(where: Served) -> float:
    """Objects a second of the loop that keeps nothing."""
    said = OssConnection(**where.connection)
    auth = oss2.AuthV4(said.access_key_id, said.access_key_secret.get_secret_value())
    bucket = oss2.Bucket(auth, said.endpoint, BUCKET, region=said.region, is_path_style=True)

    def header_of(name: str) -> None:
        read_header(bucket.get_object(name, byte_range=(0, 16 * 1024 - 1)).read())

    began, num_objects, after = time.perf_counter(), 0, ""
    with ThreadPoolExecutor(said.threads) as pool:
        while num_objects < BARE_OBJECTS:
            page = bucket.list_objects_v2("scans/", start_after=after, max_keys=1000)
            names = [one.key for one in page.object_list]
            num_objects, after = num_objects + len(names), names[-1]
            list(pool.map(header_of, (name for name in names if name.endswith(".jpg"))))
    return num_objects / (time.perf_counter() - began)


async def measure(num_objects: int, folder: Path) -> tuple[Indexing, list[float]]:
    """The service's figures, and the bare loop's objects a second before and after it."""
    with served(num_objects, num_objects // IMAGES_OF) as where:
        connections = write_connections(folder / "oss.toml", default=where.connection)
        bare = [bare_loop(where)]
        (folder / "nats").mkdir()
        async with (
            nats_server(folder / "nats") as nats,
            dataset_process(folder, folder, nats, oss_connections=connections) as service,
        ):
            settled_images = min(SETTLED_FILES, num_objects // 2) // IMAGES_OF
            _, indexing = await index(service, where.path, settled_images=settled_images)
            bare.append(bare_loop(where))
            return indexing, bare


def report(num_objects: int, out: str, indexing: Indexing, bare: list[float]) -> Report:
    """The figures as tables."""
    grown = indexing.ended.anonymous - indexing.settled.anonymous
    rate, bare_rate = num_objects / indexing.seconds, sum(bare) / len(bare)
    rows = [
        ("objects listed", f"{num_objects:,}", ""),
        ("headers read", f"{indexing.num_images:,}", ""),
        ("objects a second, service", f"{rate:.0f}", ""),
        ("objects a second, bare loop of oss2 (mean of before and after)", f"{bare_rate:.0f}", ""),
        ("service over bare loop", f"{rate / bare_rate:.2f}", ""),
        ("seconds of the first index", f"{indexing.seconds:.1f}", ""),
        ("seconds of a sync of the unchanged bucket", f"{indexing.again_seconds:.1f}", ""),
        (f"growth of RssAnon behind the first {SETTLED_FILES:,} objects, MiB", f"{grown:.1f}", "below 50"),
    ]
    return Report(
        name=f"index-oss-{out}" if out else "index-oss",
        title=f"The index of {num_objects:,} objects in OSS",
        command=command_line("bench-index", FILES=num_objects if num_objects != 1_000_000 else 0, OUT=out),
        tables=[Table("Measured", ("what", "measured", "goal"), rows)],
        figures={
            "num_objects": num_objects,
            "num_images": indexing.num_images,
            "seconds": indexing.seconds,
            "again_seconds": indexing.again_seconds,
            "bare_objects_per_second": bare,
            "rss_anon_mib": {"settled": indexing.settled.anonymous, "ended": indexing.ended.anonymous, "again": indexing.again.anonymous},
        },
        remarks=(
            "The bucket is behind the tests' verifying server, in a process of its own on the same machine, which takes most of the time.",
            f"The bare loop goes over {BARE_OBJECTS:,} of the objects.",
        ),
    )


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.indexing_oss", description="Index a large bucket beside a bare loop.")
    parser.add_argument("--files", type=int, default=1_000_000, help="objects; a multiple of 1,000")
    parser.add_argument("--out", default="", help="name of the report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        indexing, bare = asyncio.run(measure(options.files, Path(name)))
    report(options.files, options.out, indexing, bare).write()


if __name__ == "__main__":
    main()
