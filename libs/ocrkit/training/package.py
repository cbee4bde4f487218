"""Bundles of what was trained. No torch here."""

from collections.abc import Mapping
from pathlib import Path

import onnx

from libs.ocrkit.bundle import Bundle, write_bundle
from libs.ocrkit.charset import Charset
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.manifest import INT8_DETECTOR_FILE, INT8_RECOGNIZER_FILE, CharsetSpec

__all__ = ["package", "package_detector"]


def package_detector(path: Path, base: Bundle, det_onnx: bytes, det_int8_onnx: bytes | None, postprocess: DetectorParams) -> Bundle:
    """Write a detector and its settings together with the base's recognizer: what the recognizer's training begins with.

    Args:
        path: where to.
        base: the bundle the training began with.
        det_onnx: the trained graph, or the base's own.
        det_int8_onnx: the same in 8 bits; None for none.
        postprocess: settings of reading, fitted to the labels.
    """
    detector = base.manifest.detector.model_copy(update={"int8_file": "" if det_int8_onnx is None else INT8_DETECTOR_FILE})
    manifest = base.manifest.model_copy(update={"base": base.digest, "detector": detector, "postprocess": postprocess, "files": {}})
    recognizers = {file: base.read(file) for file, spec in base.manifest.graph_files.items() if spec is base.manifest.recognizer}
    int8 = {} if det_int8_onnx is None else {detector.int8_file: det_int8_onnx}
    return write_bundle(path, manifest, {detector.file: det_onnx, **int8, **recognizers})


def package(
    path: Path,
    begun: Bundle,
    rec_onnx: bytes,
    rec_int8_onnx: bytes | None,
    charset: Charset,
    postprocess: DetectorParams,
    *,
    name: str,
    metrics: Mapping[str, float],
    parity: Mapping[str, float],
    dataset_version: str,
    code_version: str,
) -> Bundle:
    """Write a detector and the trained recognizer as one bundle.

    Args:
        path: where to.
        begun: the bundle the recognizer's training began with, a base or what ``package_detector`` wrote; its detector is taken over.
        rec_onnx: the trained graph, with the head of ``charset``.
        rec_int8_onnx: the same in 8 bits; None for none.
        charset: in the order of the head's classes.
        postprocess: settings of reading.
        name: of the model, for people.
        metrics: numbers known before the evaluation, by name.
        parity: largest difference between trained module and written graph, by graph (``det``, ``rec``).
        dataset_version: resource name of what it was trained on.
        code_version: of this program.

    Raises:
        BundleInvalid: graph and charset do not fit together.
    """
    graph = onnx.load_model_from_string(rec_onnx).graph
    weights = {tensor.name for tensor in graph.initializer}
    recognizer = begun.manifest.recognizer.model_copy(
        update={
            "int8_file": "" if rec_int8_onnx is None else INT8_RECOGNIZER_FILE,
            "input_name": next(value.name for value in graph.input if value.name not in weights),
            "output_name": graph.output[0].name,
        }
    )
    manifest = begun.manifest.model_copy(
        update={
            "name": name,
            "base": begun.manifest.base or begun.digest,
            "recognizer": recognizer,
            "charset": CharsetSpec.of(charset),
            "postprocess": postprocess,
            "dataset_version": dataset_version,
            "code_version": code_version,
            "metrics": dict(metrics),
            "parity": dict(parity),
            "files": {},
        }
    )
    detectors = {file: begun.read(file) for file, spec in begun.manifest.graph_files.items() if spec is begun.manifest.detector}
    int8 = {} if rec_int8_onnx is None else {recognizer.int8_file: rec_int8_onnx}
    return write_bundle(path, manifest, {**detectors, recognizer.file: rec_onnx, **int8})
