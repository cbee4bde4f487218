"""``package``: the detector and the trained recognizer as one bundle."""

from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.charset import Charset
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.training.package import package
from libs.runtime.names import TASK
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, read_json


def run(spec: NodeSpec, report: Report) -> None:
    """Write the bundle and verify it by opening it again.

    Raises:
        BundleInvalid: graph and charset do not fit together.
    """
    training = read_json(spec.training_file)
    validation = training["validation"]
    bundle = package(
        spec.bundle_file,
        open_bundle(spec.begun_bundle_file),
        spec.recognizer_file.read_bytes(),
        Charset(tuple(training["characters"])),
        DetectorParams(**training["postprocess"]),
        name=TASK.parse(spec.task)["task"],
        metrics={f"val_{name}": validation[name] for name in ("loss", "cer", "line_accuracy")},
        parity={"det": read_json(spec.detector_file)["parity"], "rec": training["parity"]},
        dataset_version=spec.version,
        code_version=spec.code_version,
    )
    report.log(f"Packed {bundle.size_bytes / 1e6:.1f} MB; the bundle's digest is {bundle.digest}")
    report.info(bundle_digest=bundle.digest, size_bytes=bundle.size_bytes, num_characters=len(bundle.charset.characters))
