"""Fast training of a recognizer: the backbone stays, neck and head learn from cached features."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.ocrkit.bundle import Bundle, open_bundle
from libs.ocrkit.charset import Charset
from libs.ocrkit.engines.engine import load_engine
from libs.ocrkit.graph.module import OnnxModule
from libs.ocrkit.graph.surgery import cut_head, cut_until
from libs.ocrkit.graph.writeback import write_back
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.preprocess import normalize_lines, warp_line
from libs.ocrkit.reader import Reader, plan_batches
from libs.ocrkit.training.batches import BatchOrder, TrainingLines
from libs.ocrkit.training.cache import CachedRow, FeatureCache
from libs.ocrkit.training.checkpoint import Checkpoints
from libs.ocrkit.training.data import LineSample, Rejection, charset_of, collect_lines, ctc_feasible
from libs.ocrkit.training.events import Report
from libs.ocrkit.training.features import Backbone, FeatureConfig, extract
from libs.ocrkit.training.line_loss import LineLoss
from libs.ocrkit.training.loop import TrainingLoop
from libs.ocrkit.training.narrator import Narrator
from libs.ocrkit.training.orientation import turn_upright
from libs.ocrkit.training.parity import PARITY_BOUND, ParityBroken, largest_difference
from libs.ocrkit.training.samples import DetectedLines, detect_lines, jittered_copies
from libs.ocrkit.training.spec import ModeNotOffered, NothingToTrain, RecognizerTrainingResult, RecognizerTrainingSpec
from libs.ocrkit.training.validate import LineValidation, validate_lines
from libs.runtime.errors import Fault

__all__ = ["train_recognizer"]

_STAGES = {"lines": (0.0, 0.01), "detector": (0.01, 0.2), "features": (0.2, 0.5), "train": (0.5, 0.98), "write": (0.98, 1.0)}
_STEPS_PER_BATCH = 48 * 40
_MAX_LINES_PER_BATCH = 64
_LINES_WITH_COPIES = 1500
_LINES_SEEN = 20_000
_PARITY_LINES = 8
_TURN_BELOW = 0.9
_LEAST_SHARE_OF_LOOP = 0.3


def train_recognizer(spec: RecognizerTrainingSpec, report: Report) -> RecognizerTrainingResult:
    """Train neck and head of the base's recognizer on the given pages.

    Args:
        spec: pages, base, limits.
        report: called with progress, measurements and lines for the log, from this thread.

    Raises:
        ModeNotOffered: a mode other than ``fast``.
        NothingToTrain: no usable line.
        BundleInvalid: the base cannot be opened.
        GraphUnsupported: the base's recognizer cannot be trained here.
        LossNotFinite: training broke; nothing was written.
    """
    if spec.mode != "fast":
        raise ModeNotOffered(f"The mode {spec.mode} is not offered yet; choose fast.", mode=spec.mode)
    started_at = time.monotonic()
    torch.set_num_threads(spec.num_threads)
    torch.manual_seed(spec.seed)
    narrator = Narrator(report, _STAGES)
    base = open_bundle(spec.base_bundle)

    narrator.enter("lines")
    engine = load_engine(base, num_threads=spec.num_threads)
    try:
        turned = turn_upright([*spec.training, *spec.validation], Reader(base, engine).read_crops, seed=spec.seed)
    finally:
        engine.close()
    if turned.num_turned:
        narrator.say(f"{turned.num_turned} of {turned.num_probed} labelled boxes stand on their head; they are learnt upright")
    spec = replace(spec, training=turned.pages[: len(spec.training)], validation=turned.pages[len(spec.training) :])
    training, validation = collect_lines(spec.training), collect_lines(spec.validation)
    narrator.say(f"{len(training.samples)} lines to learn from, {len(validation.samples)} to validate on")
    narrator.say_rejected("labelled boxes", _together(training.rejected, validation.rejected))
    if not training.samples or not validation.samples:
        raise NothingToTrain("There is no line to learn from or none to validate on; label more pages.")

    narrator.enter("detector")
    detected = _detect(base, spec, narrator) if spec.detector_boxes else None

    narrator.enter("features")
    charset = charset_of(sample.text for sample in training.samples)
    rec_onnx = cut_head(base.read(base.manifest.recognizer.file), base.charset, charset, seed=spec.seed)
    module = OnnxModule(rec_onnx)
    cut_at = module.output_of("AveragePool")
    num_copies = _num_copies(len(training.samples)) if spec.num_copies is None else spec.num_copies
    samples = [*training.samples, *jittered_copies(training.samples, num_copies, seed=spec.seed)]
    checks = [*validation.samples]
    if detected is not None:
        samples += detected.training
        checks += detected.validation
    cache = FeatureCache(spec.work_dir / "features" / _cache_name(base, rec_onnx), max_bytes=spec.features.max_cache_bytes)
    with Backbone(cut_until(rec_onnx, cut_at), num_threads=spec.num_threads) as backbone:
        share = len(samples) / (len(samples) + len(checks))
        lines, rejected = _features(samples, charset, cache, backbone, spec.features, narrator.share(0.0, share))
        check_lines, check_rejected = _features(checks, charset, cache, backbone, spec.features, narrator.share(share, 1.0))
    narrator.say(
        f"{len(lines.rows)} lines and copies in the feature cache ({cache.size_bytes / 1e6:.0f} MB, computed in {backbone.precision})",
        cache_bytes=cache.size_bytes,
    )
    narrator.say_rejected("lines and copies", _together(rejected, check_rejected))
    if not lines.rows or not check_lines.rows:
        raise NothingToTrain("No line is left to learn from or to validate on: none fits the recognizer; look at the reasons above.")

    narrator.enter("train")
    weights = dict(module.named_weights(after=cut_at))
    for name, weight in module.named_weights():
        weight.requires_grad_(name in weights)

    def forward(features_BC1T: Tensor) -> Tensor:
        return module.forward_from(cut_at, features_BC1T, until=module.logits_name)

    order = BatchOrder(lines.rows, steps_per_batch=_STEPS_PER_BATCH, max_lines=_MAX_LINES_PER_BATCH, seed=spec.seed)
    # A slow machine may have spent everything on features, which are worth nothing without some training.
    left = max(spec.max_seconds - (time.monotonic() - started_at), _LEAST_SHARE_OF_LOOP * spec.max_seconds)
    checkpoints = Checkpoints(spec.work_dir / "checkpoints", fingerprint=_fingerprint(spec, base, charset, lines))
    loop = TrainingLoop(
        weights,
        LineLoss(forward, lines, order, spec.roughen, seed=spec.seed),
        lambda: validate_lines(forward, check_lines),
        LineValidation,
        replace(spec.loop, max_seconds=left),
        steps=order.num_batches * (spec.epochs or _num_epochs(len(lines.rows))),
        steps_per_epoch=order.num_batches,
        checkpoints=checkpoints,
    )
    if (state := checkpoints.latest()) is not None:
        loop.load_state_dict(state)
        narrator.say(f"going on after step {loop.step} of an earlier run")
    for step in loop.run():
        narrator.step(step)
    loop.load_best()
    assert loop.base is not None
    assert loop.best is not None

    narrator.enter("write")
    written = write_back(rec_onnx, module)
    parity = largest_difference(module, written, _parity_batches(validation.samples))
    narrator.say(f"the written graph equals the trained module within {parity:.1e}", parity=parity)
    if parity > PARITY_BOUND:
        raise ParityBroken(f"the written graph differs by {parity:.1e} from the trained module, more than {PARITY_BOUND:.0e}")
    checkpoints.delete()
    cache.close()
    narrator.progress(1.0)
    return RecognizerTrainingResult(
        onnx=written,
        charset=charset,
        postprocess=replace(base.manifest.postprocess, turn_below=_TURN_BELOW if turned.num_turned else 0.0),
        base_validation=loop.base,
        validation=loop.best,
        parity=parity,
        num_samples=len(training.samples),
        num_features=len(lines.rows),
        num_validation=len(check_lines.rows),
        rejected=_together(training.rejected, rejected),
        seconds=narrator.seconds(),
    )


def _detect(base: Bundle, spec: RecognizerTrainingSpec, narrator: Narrator) -> DetectedLines:
    detected = detect_lines(base, spec.training, spec.validation, num_threads=spec.num_threads, seed=spec.seed, progress=narrator.progress)
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(detected.coverage.items()))
    narrator.say(f"what the detector's boxes hold: {held}", **{f"held_{kind}": count for kind, count in detected.coverage.items()})
    if detected.num_unread_pages:
        narrator.say(f"{detected.num_unread_pages} pages could not be decoded", unread_pages=detected.num_unread_pages)
    return detected


def _features(
    samples: Sequence[LineSample],
    charset: Charset,
    cache: FeatureCache,
    backbone: Backbone,
    config: FeatureConfig,
    progress: Callable[[float], None],
) -> tuple[TrainingLines, Counter[Rejection]]:
    """Cached rows with their labels; what cannot be learned is counted."""
    ordered = sorted(samples, key=lambda sample: sample.image)
    extraction = extract(ordered, cache, backbone, config, progress=lambda done: progress(done / max(1, len(ordered))))
    rejected = Counter(extraction.rejected.values())
    rows: list[CachedRow] = []
    labels: list[tuple[int, ...]] = []
    labelled: list[bool] = []
    for index, key in sorted(extraction.keys.items()):
        sample, row = ordered[index], cache.row(key)
        if charset.missing(sample.text):
            rejected[Rejection.UNKNOWN_CHARACTER] += 1
            continue
        classes = charset.encode(sample.text)
        if not ctc_feasible(row.steps, classes):
            rejected[Rejection.TEXT_TOO_LONG] += 1
            continue
        rows.append(row)
        labels.append(tuple(classes))
        labelled.append(sample.copy == 0)
    return TrainingLines(cache, tuple(rows), tuple(labels), tuple(labelled)), rejected


def _together(*counters: Counter[Rejection]) -> dict[str, int]:
    return {reason.value: count for reason in Rejection if (count := sum(counter[reason] for counter in counters))}


def _num_copies(num_lines: int) -> int:
    return min(5, _LINES_WITH_COPIES // num_lines)


def _num_epochs(num_rows: int) -> int:
    return max(5, min(40, _LINES_SEEN // num_rows))


def _cache_name(base: Bundle, rec_onnx: bytes) -> str:
    """Rows are of one backbone; a base trained in fast mode shares it, but nothing proves that cheaply."""
    return hashlib.sha256(base.manifest.files[base.manifest.recognizer.file].sha256.encode()).hexdigest()[:16]


def _fingerprint(spec: RecognizerTrainingSpec, base: Bundle, charset: Charset, lines: TrainingLines) -> str:
    parts = (base.digest, charset.digest, spec.seed, spec.epochs, spec.loop, spec.roughen, lines.rows, lines.labels)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _parity_batches(samples: Sequence[LineSample]) -> list[NDArray[np.float32]]:
    """Some validation lines, each in the batch the reader would make of it."""
    batches: list[NDArray[np.float32]] = []
    for sample in samples[:: max(1, len(samples) // _PARITY_LINES)][:_PARITY_LINES]:
        try:
            image_HW3 = decode_image(sample.image.read_bytes())
        except (Fault, OSError):
            continue
        line_HW3 = warp_line(image_HW3, sample.quad)
        ((width_px, _),) = plan_batches([line_HW3.shape[1]])
        batches.append(normalize_lines([line_HW3], width_px))
    return batches
