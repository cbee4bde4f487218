"""The bundle: what is written is what is opened, and nothing else is."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from libs.ocrkit.bundle import BundleInvalid, open_bundle, write_bundle
from libs.ocrkit.charset import Charset
from libs.ocrkit.engines.engine import EngineName, load_engine
from libs.ocrkit.engines.kept import KeptGraphs
from libs.ocrkit.manifest import CharsetSpec, Manifest
from libs.runtime.errors import ForwardFailed
from tests.integration.tiny_bundle import write_tiny_bundle

Entries = dict[str, bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny.inkbundle").path


def entries_of(path: Path) -> Entries:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, entries: Entries, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def with_manifest(entries: Entries, change: Callable[[dict[str, Any]], object]) -> Entries:
    manifest = json.loads(entries["manifest.json"])
    change(manifest)
    return entries | {"manifest.json": json.dumps(manifest).encode()}


def relisted(entries: Entries) -> Entries:
    """The manifest lists the files as they now are, as somebody would who tampers with care."""
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        for name, data in entries.items()
        if name != "manifest.json"
    }
    return with_manifest(entries, lambda manifest: manifest.update(files=listed))


def test_what_is_written_is_opened_again(path: Path) -> None:
    bundle = open_bundle(path)
    entries = entries_of(path)
    assert bundle.read("det.onnx") == entries["det.onnx"]
    assert bundle.digest == hashlib.sha256(entries["manifest.json"]).hexdigest()
    assert bundle.size_bytes == path.stat().st_size
    assert bundle.charset.characters == ("a", "b", "c", " ")
    assert Manifest.model_validate_json(bundle.manifest.to_bytes()) == bundle.manifest


def test_equal_content_gives_equal_bytes(path: Path, tmp_path: Path) -> None:
    again = write_tiny_bundle(tmp_path / "again.inkbundle")
    assert again.path.read_bytes() == path.read_bytes()
    assert again.digest == open_bundle(path).digest
    assert write_tiny_bundle(tmp_path / "other.inkbundle", name="other").digest != again.digest


def test_every_byte_of_a_file_counts(path: Path) -> None:
    whole = path.read_bytes()
    start = whole.index(b"ReduceMean")
    path.write_bytes(whole[:start] + b"reduceMean" + whole[start + 10 :])
    with pytest.raises(BundleInvalid):
        open_bundle(path)


def test_a_file_that_changes_after_opening_is_noticed(path: Path, tmp_path: Path) -> None:
    bundle = open_bundle(path)
    pack(path, entries_of(path) | {"det.onnx": b"something else"})
    with pytest.raises(BundleInvalid, match="sha256"):
        bundle.read("det.onnx")
    with pytest.raises(BundleInvalid, match="lists no file"):
        bundle.read("../secret")


TAMPERED: dict[str, tuple[Callable[[Entries], Entries], str]] = {
    "another graph": (lambda entries: entries | {"rec.onnx": entries["det.onnx"]}, "sha256"),
    "a graph less": (lambda entries: {name: data for name, data in entries.items() if name != "rec.onnx"}, "same files"),
    "a file more": (lambda entries: entries | {"more.txt": b""}, "same files"),
    "no manifest": (lambda entries: {"det.onnx": entries["det.onnx"]}, "manifest.json"),
    "a path": (lambda entries: entries | {"../evil": b""}, "no bundle has"),
    "a hidden file": (lambda entries: entries | {".evil": b""}, "no bundle has"),
    "a manifest that is no json": (lambda entries: entries | {"manifest.json": b"{"}, "manifest"),
    "an unknown field": (lambda entries: with_manifest(entries, lambda manifest: manifest.update(extra=1)), "extra"),
    "a later schema": (lambda entries: with_manifest(entries, lambda manifest: manifest.update(schema_version=2)), "schema_version"),
    "other characters": (
        lambda entries: with_manifest(entries, lambda manifest: manifest["charset"].update(characters=["x", "y", "z", " "])),
        "digest",
    ),
    "a character more": (
        lambda entries: with_manifest(
            entries, lambda manifest: manifest.update(charset=CharsetSpec.of(Charset(tuple("abcd "))).model_dump(mode="json"))
        ),
        "5 classes, its charset 6",
    ),
    "a character twice": (
        lambda entries: with_manifest(entries, lambda manifest: manifest["charset"].update(characters=["a", "a", "b", " "])),
        "twice",
    ),
    "another input": (
        lambda entries: with_manifest(entries, lambda manifest: manifest["detector"].update(input_name="z")),
        "inputs",
    ),
    "no graph": (lambda entries: relisted(entries | {"det.onnx": b"\xff\xff\xff"}), "no ONNX graph"),
    "weights elsewhere": (lambda entries: relisted(entries | {"rec.onnx": with_weights_elsewhere(entries["rec.onnx"])}), "outside"),
}


def with_weights_elsewhere(graph: bytes) -> bytes:
    model = onnx.load_model_from_string(graph)
    weight = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    constant = model.graph.node.add(op_type="Constant", output=["w"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=weight)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("case", TAMPERED)
def test_tampering_is_told(path: Path, case: str) -> None:
    tamper, said = TAMPERED[case]
    pack(path, tamper(entries_of(path)))
    with pytest.raises(BundleInvalid, match=said) as caught:
        open_bundle(path)
    assert caught.value.reason == "BUNDLE_INVALID"


def test_packed_entries_are_refused_before_they_are_unpacked(path: Path) -> None:
    pack(path, entries_of(path) | {"det.onnx": b"\x00" * 50_000_000}, zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleInvalid, match="no bundle has"):
        open_bundle(path)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", b"not a zip" * 100])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.inkbundle"
    file.write_bytes(data)
    with pytest.raises(BundleInvalid):
        open_bundle(file)


def test_half_a_bundle_and_none_are_refused(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleInvalid):
        open_bundle(path)
    with pytest.raises(BundleInvalid, match="no bundle at"):
        open_bundle(tmp_path / "missing.inkbundle")


def test_a_failed_write_leaves_the_old_bundle(path: Path) -> None:
    before = open_bundle(path)
    with pytest.raises(BundleInvalid):
        write_bundle(path, before.manifest, {"det.onnx": before.read("det.onnx")})
    assert open_bundle(path).digest == before.digest
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_that_fails_when_run_is_a_fault_with_its_cause(tmp_path: Path, engine: EngineName) -> None:
    bundle = write_tiny_bundle(tmp_path / "failing.inkbundle", fails_when_run=True)
    loaded = load_engine(bundle, engine=engine, num_threads=1)
    assert loaded.detect(np.ones((1, 3, 32, 64), np.float32)).shape == (1, 32, 64)
    with pytest.raises(ForwardFailed) as caught:
        loaded.recognize(np.ones((2, 3, 48, 64), np.float32))
    assert caught.value.metadata["file"] == "rec.onnx"
    assert caught.value.metadata["cause"]
    loaded.close()


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_no_engine_knows_is_refused_when_loaded(path: Path, tmp_path: Path, engine: EngineName) -> None:
    bundle = open_bundle(path)
    strange = bundle.read("det.onnx").replace(b"ReduceMean", b"ReduceMoon")
    refused = write_bundle(tmp_path / "strange.inkbundle", bundle.manifest, {"det.onnx": strange, "rec.onnx": bundle.read("rec.onnx")})
    with pytest.raises(BundleInvalid, match=r"refuses det\.onnx"):
        load_engine(refused, engine=engine, num_threads=1)


def test_a_compiled_graph_is_taken_up_by_the_next_engine(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = open_bundle(path)
    page_13HW, lines_B3HW = np.ones((1, 3, 32, 64), np.float32), np.ones((2, 3, 48, 80), np.float32)

    def outputs() -> list[NDArray[np.float32]]:
        with closing(load_engine(bundle, num_threads=1)) as engine:
            return [engine.detect(page_13HW), engine.recognize(lines_B3HW)]

    compiled = outputs()
    kept = sorted((tmp_path / "cache").rglob("inkwright/compiled/*"))
    assert len(kept) == 2
    monkeypatch.setattr(openvino.Core, "compile_model", None)
    for again, output in zip(outputs(), compiled, strict=True):
        np.testing.assert_array_equal(again, output)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Whole, but no compiled graph: as another version of the engine might find it.
    keys = KeptGraphs()
    for file in kept:
        keys.keep(file.name, b"something else")
    for again, output in zip(outputs(), compiled, strict=True):
        np.testing.assert_array_equal(again, output)
    assert all(len(content) > 100 for content in (keys.find(file.name) or b"" for file in kept))
