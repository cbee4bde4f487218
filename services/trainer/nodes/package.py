"""``package``: the detector and the trained recognizer as one bundle, in 8 bits where that reads as well, its confidence calibrated."""

from libs.ocrkit.bundle import Bundle, open_bundle
from libs.ocrkit.charset import Charset
from libs.ocrkit.confidence import calibrated, calibration_error, fit_calibration
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.evaluate import LineScore, read_labelled
from libs.ocrkit.training.package import package
from libs.runtime.names import TASK
from services.trainer.nodes.pages import split_pages
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, read_json

MAX_RISE_OF_INT8 = 0.001
"""As CER on the validation lines: with more, the model is packed without the 8-bit recognizer."""


def run(spec: NodeSpec, report: Report) -> None:
    """Write the bundle and verify it by opening it again.

    Raises:
        BundleInvalid: graph and charset do not fit together.
        ForwardFailed: the model could not be run.
    """
    training = read_json(spec.training_file)
    pages = split_pages(spec).validation
    metrics = {f"val_{name}": training["validation"][name] for name in ("loss", "cer", "line_accuracy")}

    def packed(postprocess: DetectorParams, rec_int8: bytes | None) -> Bundle:
        return package(
            spec.bundle_file,
            open_bundle(spec.begun_bundle_file),
            spec.recognizer_file.read_bytes(),
            rec_int8,
            Charset(tuple(training["characters"])),
            postprocess,
            name=TASK.parse(spec.task)["task"],
            metrics=metrics,
            parity={"det": read_json(spec.detector_file)["parity"], "rec": training["parity"]},
            dataset_version=spec.version,
            code_version=spec.code_version,
        )

    postprocess, rec_int8 = DetectorParams(**training["postprocess"]), spec.int8_recognizer_file.read_bytes()
    first = packed(postprocess, rec_int8)
    report.progress(0.1, "Reading in full precision")
    in_float = read_labelled(first, pages, precision="float", num_threads=spec.num_threads)
    report.progress(0.5, "Reading in 8 bits")
    in_int8 = read_labelled(first, pages, precision="auto", num_threads=spec.num_threads)
    rise = _cer(in_int8) - _cer(in_float)
    is_int8 = rise <= MAX_RISE_OF_INT8
    report.log(f"In 8 bits the character error rate of the recognizer changes by {rise:+.4f}: it is {'kept' if is_int8 else 'left out'}")
    lines = in_int8 if is_int8 else in_float
    confs, right = [line.conf for line in lines], [line.edits == 0 for line in lines]
    fitted = fit_calibration(confs, right, postprocess)
    before, after = calibration_error(confs, right), calibration_error([calibrated(conf, fitted) for conf in confs], right)
    report.log(f"Confidence and share of right lines lay {before:.3f} apart, calibrated {after:.3f}")
    metrics |= {"int8_cer_change": rise, "calibration_error": after}
    bundle = packed(fitted, rec_int8 if is_int8 else None)
    report.log(f"Packed {bundle.size_bytes / 1e6:.1f} MB; the bundle's digest is {bundle.digest}")
    report.info(
        bundle_digest=bundle.digest,
        size_bytes=bundle.size_bytes,
        num_characters=len(bundle.charset.characters),
        is_int8=is_int8,
        int8_cer_change=f"{rise:+.4f}",
        conf_slope=bundle.manifest.postprocess.conf_slope,
        conf_offset=bundle.manifest.postprocess.conf_offset,
    )


def _cer(lines: list[LineScore]) -> float:
    return sum(line.edits for line in lines) / max(1, sum(len(line.truth) for line in lines))
