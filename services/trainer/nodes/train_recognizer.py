"""``train-recognizer``: the base's recognizer, or its last parts, learn the pages.

This child holds torch, so it must never import gRPC.
"""

from dataclasses import asdict
from typing import Literal

from libs.ocrkit.training.recognizer import train_recognizer
from libs.ocrkit.training.spec import RecognizerTrainingResult, RecognizerTrainingSpec
from services.trainer.nodes.narration import told_to
from services.trainer.nodes.pages import split_pages
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, write_json

STAGES = {
    "lines": "Collecting lines",
    "detector": "Running the detector on the pages",
    "features": "Computing features",
    "train": "Training",
    "write": "Writing the weights",
}
LEAST_SECONDS = 420.0
FIXED_SECONDS = 75.0
SECONDS_A_LINE = 0.075
"""On 2 cores, features of a line and its share of the epochs. Few lines get more: with them more of the network can be trained."""

MODES: dict[str, Literal["auto", "fast", "full"]] = {"AUTO": "auto", "FAST": "fast", "FULL": "full"}


def run(spec: NodeSpec, report: Report) -> None:
    """Train; hands on the written graph and what is known about it.

    Raises:
        Fault: whatever ``libs.ocrkit.training`` raises.
    """
    parts = split_pages(spec)
    training, validation = parts.train, parts.validation
    num_lines = sum(len(page.boxes) for page in training)
    max_seconds = min(spec.max_training_seconds, max(LEAST_SECONDS, FIXED_SECONDS + SECONDS_A_LINE * num_lines))
    report.log(f"At most {max_seconds:.0f} s on {spec.num_threads} cores, fewer when the validation lines stop getting better")
    order = RecognizerTrainingSpec(
        base_bundle=spec.begun_bundle_file,
        training=tuple(training),
        validation=tuple(validation),
        work_dir=spec.training_folder,
        mode=MODES[spec.mode],
        num_threads=spec.num_threads,
        max_seconds=max_seconds,
    )
    result = train_recognizer(order, told_to(report, STAGES))
    spec.recognizer_file.write_bytes(result.onnx)
    spec.int8_recognizer_file.write_bytes(result.int8_onnx)
    write_json(spec.training_file, _facts(result))
    report.info(
        num_samples=result.num_samples,
        num_features=result.num_features,
        num_characters=len(result.charset.characters),
        val_loss=f"{result.validation.loss:.4f}",
        val_cer=f"{result.validation.cer:.4f}",
        val_line_accuracy=f"{result.validation.line_accuracy:.4f}",
        base_val_cer=f"{result.base_validation.cer:.4f}",
        base_val_line_accuracy=f"{result.base_validation.line_accuracy:.4f}",
        parity=f"{result.parity:.1e}",
        **{f"seconds_{stage}": f"{seconds:.1f}" for stage, seconds in result.seconds.items()},
    )


def _facts(result: RecognizerTrainingResult) -> dict[str, object]:
    return {
        "characters": result.charset.characters,
        "postprocess": asdict(result.postprocess),
        "parity": result.parity,
        "validation": asdict(result.validation),
        "base_validation": asdict(result.base_validation),
        "rejected": dict(result.rejected),
    }
