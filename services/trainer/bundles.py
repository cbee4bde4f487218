"""Bundles in the artifact store: one object a digest, never changed."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

import onnx

from libs.ocrkit.bundle import SUFFIX, Bundle, BundleInvalid, open_bundle
from libs.runtime.errors import AlreadyExists
from libs.runtime.object_store import ObjectStore


@dataclass(frozen=True)
class BundleFacts:
    """What a model says about its bundle.

    Args:
        model_size: bytes of each precision variant.
    """

    bundle_digest: str
    charset_digest: str
    num_characters: int
    model_size: dict[str, int]
    code_version: str


def key_of(digest: str) -> str:
    """Where a bundle lies in the store."""
    return f"{digest}{SUFFIX}"


async def keep_bundle(store: ObjectStore, path: Path) -> BundleFacts:
    """Verify a bundle and put it into the store; a bundle that is there stays.

    Raises:
        BundleInvalid: what is wrong with it.
    """
    bundle = await asyncio.to_thread(open_bundle, path)
    data = await asyncio.to_thread(path.read_bytes)
    with contextlib.suppress(AlreadyExists):
        await store.write_new(key_of(bundle.digest), data)
    return _facts(bundle)


async def fetch_bundle(store: ObjectStore, digest: str, path: Path) -> None:
    """Write a bundle of the store to a file; a file that is there stays.

    Raises:
        NotFound: the store has no such bundle.
    """
    if await asyncio.to_thread(path.exists):
        return
    data = await store.read(key_of(digest))

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_bytes(data)
        temporary.replace(path)

    await asyncio.to_thread(write)


def check_graphs(path: Path) -> None:
    """Check the graphs of a bundle as ONNX demands it. Whether they can be run is seen when they are run.

    Raises:
        BundleInvalid: the file is no bundle, or a graph is malformed.
    """
    bundle = open_bundle(path)
    for file in bundle.manifest.graph_files:
        try:
            onnx.checker.check_model(bundle.read(file))
        except onnx.checker.ValidationError as error:
            cause = str(error).strip().splitlines()[0]
            raise BundleInvalid(f"{file} in {path.name} is no valid ONNX graph: {cause[:300]}", bundle=path.name, file=file) from error


def _facts(bundle: Bundle) -> BundleFacts:
    manifest = bundle.manifest
    specs = manifest.detector, manifest.recognizer
    size = {"fp32": sum(manifest.files[spec.file].size_bytes for spec in specs)}
    if any(spec.int8_file for spec in specs):
        # What is read with: a graph that lost too much in 8 bits stays as it is.
        size["int8"] = sum(manifest.files[spec.int8_file or spec.file].size_bytes for spec in specs)
    return BundleFacts(bundle.digest, manifest.charset.digest, len(manifest.charset.characters), size, manifest.code_version)
