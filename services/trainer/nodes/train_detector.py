"""``train-detector``: the base's detector learns what is labelled, and its settings are fitted to how the boxes are drawn.

This child holds torch, so it must never import gRPC.
"""

from dataclasses import asdict

from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.training.detector import DetectorTrainingSpec, train_detector
from libs.ocrkit.training.package import package_detector
from services.trainer.nodes.narration import told_to
from services.trainer.nodes.pages import split_pages
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, write_json

LEAST_SECONDS = 400.0
"""On 2 cores, some 280 steps. After 240 s a fourteenth of the plates of its own training pages was still missed."""
SECONDS_A_PAGE = 2.0
"""Two passes over the pages; on receipts a third brought nothing."""

SHARE_OF_TRAINING = 1 / 3
STAGES = {"probe": "Looking at what the base finds", "train": "Training", "write": "Writing the weights"}


def run(spec: NodeSpec, report: Report) -> None:
    """Train; hands on a bundle with the detector to use and the base's recognizer.

    Raises:
        Fault: whatever ``libs.ocrkit.training`` raises.
    """
    parts = split_pages(spec)
    training, validation = parts.train, parts.validation
    max_seconds = min(SHARE_OF_TRAINING * spec.max_training_seconds, max(LEAST_SECONDS, SECONDS_A_PAGE * len(training)))
    order = DetectorTrainingSpec(
        base_bundle=spec.base_bundle,
        training=tuple(training),
        validation=tuple(validation),
        work_dir=spec.detector_folder,
        num_threads=spec.num_threads,
        max_seconds=max_seconds,
    )
    result = train_detector(order, told_to(report, STAGES))
    package_detector(spec.begun_bundle_file, open_bundle(spec.base_bundle), result.onnx, result.int8_onnx, result.postprocess)
    write_json(spec.detector_file, {"parity": result.parity, "is_trained": result.is_trained, "postprocess": asdict(result.postprocess)})
    report.info(
        is_trained=result.is_trained,
        is_int8=result.int8_onnx is not None,
        num_steps=result.num_steps,
        det_hmean=f"{result.hmean:.4f}",
        base_det_hmean=f"{result.hmean_base:.4f}",
        max_pixels=result.postprocess.max_pixels,
        parity=f"{result.parity:.1e}",
        **{f"seconds_{stage}": f"{seconds:.1f}" for stage, seconds in result.seconds.items()},
    )
