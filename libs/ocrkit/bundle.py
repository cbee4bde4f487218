"""A bundle: one file that holds everything needed to read with a model.

A zip whose entries are stored, not packed: ``manifest.json``, then the files it lists, ``det.onnx`` and ``rec.onnx`` among them.
The manifest names the sha256 of every file, so the digest of the manifest is the digest of the whole.
"""

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from libs.ocrkit.charset import Charset
from libs.ocrkit.manifest import FileEntry, Manifest
from libs.runtime.errors import InvalidInput

__all__ = ["SUFFIX", "Bundle", "BundleInvalid", "open_bundle", "write_bundle"]

SUFFIX = ".inkbundle"
MANIFEST_NAME = "manifest.json"

_MAX_MANIFEST_BYTES = 16 * 1024 * 1024
_MAX_BYTES = 4 * 1024**3
_MAX_FILES = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)


class BundleInvalid(InvalidInput):
    """The file is no bundle, or not the one that was written."""

    reason = "BUNDLE_INVALID"


@dataclass(frozen=True)
class Bundle:
    """A bundle that was opened and verified.

    Args:
        path: the file; it must stay as it is while the bundle is used.
        digest: sha256 (hex) of the manifest.
        size_bytes: of the file.
    """

    path: Path
    manifest: Manifest
    digest: str
    size_bytes: int

    @property
    def charset(self) -> Charset:
        """The characters of the recognizer."""
        return Charset(self.manifest.charset.characters)

    def read(self, name: str) -> bytes:
        """One file of the bundle, verified again.

        Raises:
            BundleInvalid: it is not listed, or changed since the bundle was opened.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleInvalid(f"The bundle {self.path.name} lists no file {name}.", bundle=self.path.name, file=name)
        try:
            with zipfile.ZipFile(self.path) as archive:
                return _verified(archive, name, entry, self.path.name)
        except (OSError, zipfile.BadZipFile) as error:
            raise BundleInvalid(f"The bundle {self.path.name} cannot be read: {error}.", bundle=self.path.name) from error


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle; equal content gives equal bytes, and the file appears whole or not at all.

    Args:
        path: where to; the folder is made.
        manifest: its ``files`` are filled in here.
        files: name to content; the graphs the manifest names must be there.

    Raises:
        BundleInvalid: what would be written could not be opened again.
    """
    manifest = manifest.with_files(files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in ((MANIFEST_NAME, manifest.to_bytes()), *sorted(files.items())):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, data)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        bundle = open_bundle(Path(temporary))
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return replace(bundle, path=path)


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and verify all of it: names, sizes, digests, charset, number of classes.

    Raises:
        BundleInvalid: anything is missing, superfluous or changed; the message says what.
    """
    name = path.name
    try:
        with zipfile.ZipFile(path) as archive:
            manifest, digest = _manifest(archive, name)
            for file, entry in manifest.files.items():
                data = _verified(archive, file, entry, name)
                if file in manifest.graph_files:
                    _check_graph(data, file, manifest, name)
        return Bundle(path=path, manifest=manifest, digest=digest, size_bytes=path.stat().st_size)
    except FileNotFoundError as error:
        raise BundleInvalid(f"There is no bundle at {path}.", bundle=name) from error
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BundleInvalid(f"{name} is no bundle: {error}.", bundle=name) from error


def _manifest(archive: zipfile.ZipFile, name: str) -> tuple[Manifest, str]:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if MANIFEST_NAME not in names:
        raise BundleInvalid(f"{name} is no bundle: it holds no {MANIFEST_NAME}.", bundle=name)
    for info in infos:
        plain = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size and not info.flag_bits & 0x1
        if not plain or "/" in info.filename or "\\" in info.filename or info.filename.startswith("."):
            raise BundleInvalid(f"{name} holds an entry that no bundle has: {info.filename}.", bundle=name, file=info.filename)
    if len(set(names)) != len(names) or len(names) > _MAX_FILES or sum(info.file_size for info in infos) > _MAX_BYTES:
        raise BundleInvalid(f"{name} holds files twice, too many or too large ones.", bundle=name)
    if archive.getinfo(MANIFEST_NAME).file_size > _MAX_MANIFEST_BYTES:
        raise BundleInvalid(f"The manifest of {name} is too large.", bundle=name)
    data = archive.read(MANIFEST_NAME)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleInvalid(f"The manifest of {name} is wrong at {where}: {first['msg']}.", bundle=name, field=where) from error
    listed = {MANIFEST_NAME, *manifest.files}
    if listed != set(names) or not manifest.graph_files.keys() <= manifest.files.keys():
        odd = sorted(listed ^ set(names)) or sorted(manifest.graph_files.keys() - manifest.files.keys())
        raise BundleInvalid(f"{name} and its manifest do not list the same files: {', '.join(odd)}.", bundle=name, file=odd[0])
    return manifest, hashlib.sha256(data).hexdigest()


def _verified(archive: zipfile.ZipFile, file: str, entry: FileEntry, name: str) -> bytes:
    data = archive.read(file) if archive.getinfo(file).file_size == entry.size_bytes else b""
    if len(data) != entry.size_bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise BundleInvalid(f"{file} in {name} is not the file that was packed: its sha256 differs.", bundle=name, file=file)
    return data


def _check_graph(data: bytes, file: str, manifest: Manifest, name: str) -> None:
    try:
        graph = onnx.load_model_from_string(data).graph
    except DecodeError as error:
        raise BundleInvalid(f"{file} in {name} is no ONNX graph.", bundle=name, file=file) from error
    spec = manifest.graph_files[file]
    weights = {initializer.name for initializer in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    outputs = {value.name: value for value in graph.output}
    if inputs != [spec.input_name] or spec.output_name not in outputs:
        raise BundleInvalid(f"{file} in {name} has other inputs or outputs than the manifest says.", bundle=name, file=file)
    # Weights beside the graph would be read from whatever folder the process stands in.
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
        raise BundleInvalid(f"{file} in {name} keeps weights outside the bundle.", bundle=name, file=file)
    if spec is manifest.recognizer:
        dims = outputs[spec.output_name].type.tensor_type.shape.dim
        num_classes = dims[-1].dim_value if dims else 0
        expected = len(manifest.charset.characters) + 1
        if num_classes not in (0, expected):
            message = f"{file} in {name} has {num_classes} classes, its charset {expected}."
            raise BundleInvalid(message, bundle=name, file=file, num_classes=num_classes)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor kept in a graph, in its nodes and in the graphs of its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _tensors(inner)
