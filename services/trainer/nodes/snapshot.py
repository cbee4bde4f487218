"""``snapshot``: the frozen version's manifest and the bytes of its labelled images, into the task's work folder.

This child speaks gRPC, so it must never import torch.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc
from libs.runtime.errors import Conflict, NoReadyInstance
from libs.runtime.grpc_client import call, connect, stream
from libs.runtime.names import IMAGE
from libs.runtime.tls import Tls
from libs.runtime.trust import Credentials
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, write_json

if TYPE_CHECKING:
    # Only the type stubs of the generated code have it.
    from inkwright.dataset.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub

PAGE_SIZE = 500
NUM_STREAMS = 4
PATIENCE_SECONDS = 120.0
"""How long the dataset service may be away: a task of hours must not fail because a service was started anew."""
ASK_AGAIN_SECONDS = 0.5

T = TypeVar("T")


class ImageChanged(Conflict):
    """An image is not the one that was frozen."""

    reason = "IMAGE_CHANGED"


def run(spec: NodeSpec, report: Report) -> None:
    """Fetch the manifest and the labelled images.

    Raises:
        ImageChanged: a stored image has another content than the version says.
        NoReadyInstance: the dataset service was away for ``PATIENCE_SECONDS``.
        Fault: whatever it answers.
    """
    asyncio.run(_run(spec, report))


async def _run(spec: NodeSpec, report: Report) -> None:
    spec.images_folder.mkdir(parents=True, exist_ok=True)
    credentials = Credentials(lambda: spec.access_token, Tls.read(*(Path(file) for file in spec.tls)) if spec.tls else None)
    async with connect(spec.dataset_address, credentials) as channel:
        stub = dataset_service_pb2_grpc.DatasetServiceStub(channel)
        entries = await _patiently(lambda: _entries(stub, spec.version))
        labeled = [entry for entry in entries if entry.label_digest]
        report.log(f"{spec.version}: {len(entries)} images, {len(labeled)} of them labelled")
        pages = await _fetch_all(stub, spec, labeled, report)
    write_json(spec.manifest_file, {"num_images": len(entries), "pages": pages})
    num_bytes = sum(entry.size_bytes for entry in labeled)
    report.info(num_images=len(entries), num_labeled=len(labeled), num_test=sum(entry.is_test for entry in labeled), size_bytes=num_bytes)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What ``ask`` gives, asked from the start again for as long as the dataset service is away."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except NoReadyInstance:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(ASK_AGAIN_SECONDS)


async def _entries(stub: "DatasetServiceAsyncStub", version: str) -> list[dataset_pb2.VersionEntry]:
    entries: list[dataset_pb2.VersionEntry] = []
    token = ""
    while True:
        request = dataset_service_pb2.ListVersionEntriesRequest(parent=version, page_size=PAGE_SIZE, page_token=token)
        reply = await call(stub.ListVersionEntries, request, deadline_seconds=60)
        entries += reply.entries
        token = reply.next_page_token
        if not token:
            return entries


async def _fetch_all(
    stub: "DatasetServiceAsyncStub", spec: NodeSpec, entries: list[dataset_pb2.VersionEntry], report: Report
) -> list[dict[str, Any]]:
    slots = asyncio.Semaphore(NUM_STREAMS)
    several = len({IMAGE.parse(entry.image)["dataset"] for entry in entries}) > 1
    pages: dict[str, dict[str, Any]] = {}

    async def fetch(entry: dataset_pb2.VersionEntry) -> None:
        async with slots:
            ids = IMAGE.parse(entry.image)
            # Two datasets may have images of one id, and so of one key.
            path = spec.images_folder / f"{ids['dataset']}-{ids['image']}{PurePosixPath(entry.key).suffix.lower()}"
            digest = await _patiently(lambda: _fetch(stub, entry, path))
            pages[entry.image] = _page(entry, f"{ids['dataset']}/{entry.key}" if several else entry.key, path.name, digest)
            report.progress(len(pages) / len(entries), f"Fetching images: {len(pages)} of {len(entries)}")

    # Not a TaskGroup: its exception group would hide the one fault a person wants to read.
    running = [asyncio.create_task(fetch(entry), name=entry.image) for entry in entries]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
    return [pages[entry.image] for entry in entries]


async def _fetch(stub: "DatasetServiceAsyncStub", entry: dataset_pb2.VersionEntry, path: Path) -> str:
    """Write one image; gives the SHA-256 of its bytes."""
    request = dataset_service_pb2.ReadImageRequest(name=entry.image, store_etag=entry.store_etag)
    digest, size = hashlib.sha256(), 0
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        async for reply in stream(stub.ReadImage, request, deadline_seconds=300):
            file.write(reply.chunk)
            digest.update(reply.chunk)
            size += len(reply.chunk)
    if size != entry.size_bytes:
        raise ImageChanged(
            f"{entry.key} has {size} bytes, {entry.size_bytes} when it was frozen; sync the dataset and start a new task.", key=entry.key
        )
    temporary.replace(path)
    return digest.hexdigest()


def _page(entry: dataset_pb2.VersionEntry, key: str, file: str, digest: str) -> dict[str, Any]:
    boxes = [
        {"quad": [[point.x, point.y] for point in box.quad.points], "text": box.text, "unreadable": box.unreadable} for box in entry.boxes
    ]
    size = {"width_px": entry.width_px, "height_px": entry.height_px}
    return {"key": key, "file": file, "sha256": digest, **size, "is_test": entry.is_test, "boxes": boxes}
