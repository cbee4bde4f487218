"""The bundle of a trained recognizer. No torch here."""

from collections.abc import Mapping
from pathlib import Path

import onnx

from libs.ocrkit.bundle import Bundle, write_bundle
from libs.ocrkit.charset import Charset
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.manifest import CharsetSpec

__all__ = ["package"]


def package(
    path: Path,
    base: Bundle,
    rec_onnx: bytes,
    charset: Charset,
    postprocess: DetectorParams,
    *,
    name: str,
    metrics: Mapping[str, float],
    parity: Mapping[str, float],
    dataset_version: str,
    code_version: str,
) -> Bundle:
    """Write the base's detector and the trained recognizer as one bundle.

    Args:
        path: where to.
        base: the bundle the training began with.
        rec_onnx: the trained graph, with the head of ``charset``.
        charset: in the order of the head's classes.
        postprocess: settings of reading, chosen in training.
        name: of the model, for people.
        metrics: numbers known before the evaluation, by name.
        parity: largest difference between trained module and written graph, by graph (``rec``).
        dataset_version: resource name of what it was trained on.
        code_version: of this program.

    Raises:
        BundleInvalid: graph and charset do not fit together.
    """
    graph = onnx.load_model_from_string(rec_onnx).graph
    weights = {tensor.name for tensor in graph.initializer}
    recognizer = base.manifest.recognizer.model_copy(
        update={
            "input_name": next(value.name for value in graph.input if value.name not in weights),
            "output_name": graph.output[0].name,
        }
    )
    manifest = base.manifest.model_copy(
        update={
            "name": name,
            "base": base.digest,
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
    detector = base.read(base.manifest.detector.file)
    return write_bundle(path, manifest, {manifest.detector.file: detector, recognizer.file: rec_onnx})
