"""Training of a recognizer: what stays as it is computes features once, the rest learns from them."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle, open_bundle
from libs.ocrkit.charset import BASE_ALPHABET, Charset
from libs.ocrkit.engines.engine import load_engine
from libs.ocrkit.graph.surgery import cut_head
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.line_steps import ctc_feasible
from libs.ocrkit.preprocess import fit_line, normalize_lines, warp_line
from libs.ocrkit.reader import Reader, plan_batches
from libs.ocrkit.training.batches import BatchOrder, TrainingLines
from libs.ocrkit.training.cache import CachedRow, FeatureCache
from libs.ocrkit.training.checkpoint import Checkpoints
from libs.ocrkit.training.data import LineSample, Rejection, charset_of, collect_lines
from libs.ocrkit.training.depth import LEARNING_RATES, Depth, PartlyFrozen, choose_depth
from libs.ocrkit.training.events import Report
from libs.ocrkit.training.features import Backbone, FeatureConfig, extract
from libs.ocrkit.training.line_loss import LineLoss, RoughenConfig
from libs.ocrkit.training.loop import TrainingLoop
from libs.ocrkit.training.margin import choose_margin
from libs.ocrkit.training.narrator import Narrator
from libs.ocrkit.training.orientation import turn_upright
from libs.ocrkit.training.parity import PARITY_BOUND, ParityBroken, largest_difference
from libs.ocrkit.training.samples import DetectedLines, detect_lines, jittered_copies, replay_samples
from libs.ocrkit.training.spec import NothingToTrain, RecognizerTrainingResult, RecognizerTrainingSpec
from libs.ocrkit.training.validate import LineValidation, validate_lines
from libs.runtime.errors import Fault
from libs.runtime.secrets import write_once

__all__ = ["train_recognizer"]

_STAGES = {"lines": (0.0, 0.01), "detector": (0.01, 0.2), "features": (0.2, 0.5), "train": (0.5, 0.98), "write": (0.98, 1.0)}
_WIDTH_PER_BATCH_PX = 48 * 320
_MAX_LINES_PER_BATCH = 64
_LINES_WITH_COPIES = 1500
_MOST_LINES_WITH_A_COPY = 15_000
_LINES_SEEN = 20_000
_REPLAYED = 0.1
_LEAST_REPLAYED, _MOST_REPLAYED = 60, 1500
_PARITY_LINES = 8
_CALIBRATION_LINES = 100
_TURN_BELOW = 0.9
_LEAST_SHARE_OF_LOOP = 0.3


def train_recognizer(spec: RecognizerTrainingSpec, report: Report) -> RecognizerTrainingResult:
    """Train the base's recognizer, or its last parts, on the given pages.

    Args:
        spec: pages, base, limits.
        report: called with progress, measurements and lines for the log, from this thread.

    Raises:
        NothingToTrain: no usable line.
        BundleInvalid: the base cannot be opened.
        GraphUnsupported: the base's recognizer cannot be trained here.
        LossNotFinite: training broke; nothing was written.
    """
    started_at = time.monotonic()
    torch.set_num_threads(spec.num_threads)
    torch.manual_seed(spec.seed)
    narrator = Narrator(report, _STAGES)
    base = open_bundle(spec.base_bundle)

    narrator.enter("lines")
    with closing(load_engine(base, num_threads=spec.num_threads, precision="float")) as engine:
        read = Reader(base, engine).read_crops
        turned = turn_upright([*spec.training, *spec.validation], read, seed=spec.seed)
        if turned.num_turned:
            narrator.say(f"{turned.num_turned} of {turned.num_probed} labelled boxes stand on their head; they are learnt upright")
        spec = replace(spec, training=turned.pages[: len(spec.training)], validation=turned.pages[len(spec.training) :])
        training, validation = collect_lines(spec.training), collect_lines(spec.validation)
        narrator.say(f"{len(training.samples)} lines to learn from, {len(validation.samples)} to validate on")
        narrator.say_rejected("labelled boxes", _together(training.rejected, validation.rejected))
        if not training.samples or not validation.samples:
            raise NothingToTrain("There is no line to learn from or none to validate on; label more pages.")

        margin, rates = choose_margin(training.samples, read, seed=spec.seed)
    tried = ", ".join(f"{tried:.1f}: {rate:.4f}" for tried, rate in rates.items())
    narrator.say(
        f"lines are cut out with {margin:.1f} of their height around them; CER of the base by margin, case and spaces aside: {tried}"
    )

    narrator.enter("detector")
    detected = _detect(base, spec, narrator) if spec.detector_boxes else None

    narrator.enter("features")
    charset = charset_of(sample.text for sample in training.samples)
    rec_onnx = cut_head(base.read(base.manifest.recognizer.file), base.charset, charset, seed=spec.seed)
    num_copies = _num_copies(len(training.samples)) if spec.num_copies is None else spec.num_copies
    samples = [*training.samples, *jittered_copies(training.samples, num_copies, seed=spec.seed)]
    checks = [*validation.samples]
    if detected is not None:
        samples += detected.training
        checks += detected.validation
    num_replayed = round(min(max(_REPLAYED * len(samples), _LEAST_REPLAYED), _MOST_REPLAYED)) if spec.replay else 0
    replayed = replay_samples(spec.work_dir / "replay", BASE_ALPHABET, num_replayed, seed=spec.seed)
    narrator.say(f"{len(replayed)} synthetic lines of the base alphabet are replayed, so that it is not forgotten")
    samples += replayed
    calibration = _line_batches(training.samples, margin, _CALIBRATION_LINES)
    left = spec.max_seconds - (time.monotonic() - started_at)
    depth = _depth(spec, lambda: choose_depth(rec_onnx, samples, margin, seconds=left, say=narrator.say), narrator)
    recognizer = PartlyFrozen(rec_onnx, depth)
    frozen = recognizer.frozen(calibration)
    config = replace(spec.features, margin=margin)
    with closing(FeatureCache(spec.work_dir / "features" / _cache_name(frozen, config), max_bytes=config.max_cache_bytes)) as cache:
        with Backbone(frozen, num_threads=spec.num_threads) as backbone:
            share = len(samples) / (len(samples) + len(checks))
            lines, rejected = _features(samples, charset, recognizer, cache, backbone, config, narrator.share(0.0, share))
            check_lines, check_rejected = _features(checks, charset, recognizer, cache, backbone, config, narrator.share(share, 1.0))
        narrator.say(
            f"{len(lines.rows)} lines and copies in the feature cache ({cache.size_bytes / 1e6:.0f} MB)",
            cache_bytes=cache.size_bytes,
        )
        narrator.say_rejected("lines and copies", _together(rejected, check_rejected))
        if not lines.rows or not check_lines.rows:
            raise NothingToTrain("No line is left to learn from or to validate on: none fits the recognizer; look at the reasons above.")

        narrator.enter("train")
        # A slow machine may have spent everything on features, which are worth nothing without some training.
        left = max(spec.max_seconds - (time.monotonic() - started_at), _LEAST_SHARE_OF_LOOP * spec.max_seconds)
        checkpoints = Checkpoints(spec.work_dir / "checkpoints", fingerprint=_fingerprint(spec, base, charset, lines))
        loop = _loop(replace(spec, max_seconds=left), recognizer, lines, check_lines, checkpoints)
        if loop.step:
            narrator.say(f"going on after step {loop.step} of an earlier run")
        for step in loop.run():
            narrator.step(step)
    loop.load_best()
    assert loop.base is not None
    assert loop.best is not None

    narrator.enter("write")
    written = recognizer.written()
    parity = largest_difference(recognizer.module, written, _line_batches(validation.samples, margin, _PARITY_LINES))
    narrator.say(f"the written graph equals the trained module within {parity:.1e}", parity=parity)
    if parity > PARITY_BOUND:
        raise ParityBroken(f"the written graph differs by {parity:.1e} from the trained module, more than {PARITY_BOUND:.0e}")
    checkpoints.delete()
    _chosen_depth(spec).unlink(missing_ok=True)
    narrator.progress(1.0)
    return RecognizerTrainingResult(
        onnx=written,
        int8_onnx=recognizer.in_int8(written, calibration),
        charset=charset,
        postprocess=replace(base.manifest.postprocess, turn_below=_TURN_BELOW if turned.num_turned else 0.0, crop_margin=margin),
        base_validation=loop.base,
        validation=loop.best,
        parity=parity,
        num_samples=len(training.samples),
        num_features=len(lines.rows),
        num_validation=len(check_lines.rows),
        rejected=_together(training.rejected, rejected),
        seconds=narrator.seconds(),
    )


def _loop(
    spec: RecognizerTrainingSpec,
    recognizer: PartlyFrozen,
    lines: TrainingLines,
    checks: TrainingLines,
    checkpoints: Checkpoints,
) -> TrainingLoop[LineValidation]:
    """The loop, where a crash left it or at its beginning."""
    is_fast = recognizer.depth is Depth.FAST
    order = BatchOrder(lines.rows, width_per_batch_px=_WIDTH_PER_BATCH_PX, max_lines=_MAX_LINES_PER_BATCH, seed=spec.seed)
    rate = spec.loop.learning_rate * LEARNING_RATES[recognizer.depth] / LEARNING_RATES[Depth.FAST]
    loop = TrainingLoop(
        recognizer.weights,
        LineLoss(recognizer, lines, order, spec.roughen if is_fast else RoughenConfig(dropout=0.0), seed=spec.seed),
        lambda: validate_lines(recognizer, checks),
        LineValidation,
        replace(spec.loop, max_seconds=spec.max_seconds, learning_rate=rate),
        steps=order.num_batches * (spec.epochs or _num_epochs(len(lines.rows))),
        steps_per_epoch=order.num_batches,
        checkpoints=checkpoints,
    )
    if (state := checkpoints.latest()) is not None:
        loop.load_state_dict(state)
    return loop


def _detect(base: Bundle, spec: RecognizerTrainingSpec, narrator: Narrator) -> DetectedLines:
    detected = detect_lines(base, spec.training, spec.validation, num_threads=spec.num_threads, seed=spec.seed, progress=narrator.progress)
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(detected.coverage.items()))
    narrator.say(f"what the detector's boxes hold: {held}", **{f"held_{kind}": count for kind, count in detected.coverage.items()})
    if detected.num_unread_pages:
        narrator.say(f"{detected.num_unread_pages} pages could not be decoded", unread_pages=detected.num_unread_pages)
    return detected


def _depth(spec: RecognizerTrainingSpec, choose: Callable[[], Depth], narrator: Narrator) -> Depth:
    """As asked for, or chosen; a choice outlives a crash, for with another one everything done so far would be worth nothing."""
    if spec.mode != "auto":
        return Depth(spec.mode)
    kept = _chosen_depth(spec)
    if kept.exists():
        depth = Depth(kept.read_text())
        narrator.say(f"mode {depth}: chosen before the training was interrupted")
        return depth
    kept.parent.mkdir(parents=True, exist_ok=True)
    return Depth(write_once(kept, choose().encode()).decode())


def _chosen_depth(spec: RecognizerTrainingSpec) -> Path:
    return spec.work_dir / "depth"


def _features(
    samples: Sequence[LineSample],
    charset: Charset,
    recognizer: PartlyFrozen,
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
        if not ctc_feasible(recognizer.num_steps(row.width_px), classes):
            rejected[Rejection.TEXT_TOO_LONG] += 1
            continue
        rows.append(row)
        labels.append(tuple(classes))
        labelled.append(sample.copy == 0)
    return TrainingLines(cache, tuple(rows), tuple(labels), tuple(labelled)), rejected


def _together(*counters: Counter[Rejection]) -> dict[str, int]:
    return {reason.value: count for reason in Rejection if (count := sum(counter[reason] for counter in counters))}


def _num_copies(num_lines: int) -> int:
    return min(5, _LINES_WITH_COPIES // num_lines or int(num_lines <= _MOST_LINES_WITH_A_COPY))


def _num_epochs(num_rows: int) -> int:
    return max(5, min(40, _LINES_SEEN // num_rows))


def _cache_name(frozen: bytes | None, config: FeatureConfig) -> str:
    """Rows are of one backbone and one way of cutting lines out."""
    return hashlib.sha256((frozen or b"") + repr(config.margin).encode()).hexdigest()[:16]


def _fingerprint(spec: RecognizerTrainingSpec, base: Bundle, charset: Charset, lines: TrainingLines) -> str:
    parts = (base.digest, charset.digest, spec.seed, spec.epochs, spec.loop, spec.roughen, lines.rows, lines.labels)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _line_batches(samples: Sequence[LineSample], margin: float, num_lines: int) -> list[NDArray[np.float32]]:
    """Some lines, each in the batch the reader would make of it."""
    batches: list[NDArray[np.float32]] = []
    for sample in samples[:: max(1, len(samples) // num_lines)][:num_lines]:
        try:
            image_HW3 = decode_image(sample.image.read_bytes())
        except (Fault, OSError):
            continue
        line_HW3 = fit_line(warp_line(image_HW3, sample.quad, margin=margin))
        ((width_px, _),) = plan_batches([line_HW3.shape[1]])
        batches.append(normalize_lines([line_HW3], width_px))
    return batches
