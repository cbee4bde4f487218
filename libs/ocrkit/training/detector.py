"""Training of a detector: all its weights, gently, on crops of the labelled pages. The base stands where it is better."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from libs.ocrkit.bundle import Bundle, open_bundle
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.engines.openvino import OpenVinoGraph
from libs.ocrkit.graph.module import OnnxModule
from libs.ocrkit.graph.quantize import quantize
from libs.ocrkit.graph.writeback import write_back
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.manifest import GraphSpec
from libs.ocrkit.preprocess import DETECTOR_STRIDE_PX
from libs.ocrkit.training.checkpoint import Checkpoints
from libs.ocrkit.training.crops import CropBatch, CropStream
from libs.ocrkit.training.data import LabelledPage
from libs.ocrkit.training.detector_params import ChosenParams, ProbedPage, choose_params
from libs.ocrkit.training.events import Report
from libs.ocrkit.training.input_plan import LEAST_PIXELS, plan_input
from libs.ocrkit.training.loop import LoopConfig, TrainingLoop
from libs.ocrkit.training.losses import text_map_loss
from libs.ocrkit.training.narrator import Narrator
from libs.ocrkit.training.parity import PARITY_BOUND, ParityBroken, largest_difference
from libs.ocrkit.training.probe import page_input, probe_pages
from libs.ocrkit.training.spec import NothingToTrain
from libs.ocrkit.training.text_maps import CropConfig
from libs.runtime.errors import Fault

__all__ = ["DetectorTrainingResult", "DetectorTrainingSpec", "DetectorValidation", "train_detector"]

_STAGES = {"probe": (0.0, 0.05), "train": (0.05, 0.97), "write": (0.97, 1.0)}
_LEAST_STEPS_PER_EPOCH = 40
_MAX_VALIDATION_PAGES = 24
_LEAST_JUDGES = 12
_VALIDATION_BATCHES = 8
_PARITY_PAGES = 2
_CALIBRATION_PAGES = 8
_SMALLER = 0.75
"""Share of the area that the heights of the boxes ask for. Receipts shown at 0.55 of it read worse by 0.01, where boxes hardly did."""

_GOOD_ENOUGH = 0.95
"""H-mean with fitted settings from which the base's weights stay. Receipts: at 0.927 training gave 0.942 and 0.007 more end to end."""

_MAX_LOSS_OF_PLAN = 0.005
"""Pages are shown in the planned area to the base's own weights when that costs at most this much, as h-mean."""

_MAX_LOSS_OF_CHEAPER = 0.02
"""The same for 8 bits and a smaller area together, as closeness: boxes are still found when they no longer fit. Receipts: 0.012 to 0.019
less of it took 0.002 to 0.005 from end-to-end scores, 0.022 took 0.02."""


@dataclass(frozen=True)
class DetectorValidation:
    """Numbers on the validation pages.

    Args:
        hmean: of boxes (IoU of at least 0.5) with the settings that suit the weights best.
        closeness: how well they are found and fit, see ``ChosenParams``.
        loss: of the maps.
    """

    hmean: float
    closeness: float
    loss: float

    @property
    def rank(self) -> tuple[float, ...]:
        """Boxes found and fitting first, then the smaller loss."""
        return -self.closeness, self.loss

    def numbers(self) -> Mapping[str, float]:
        """See ``Measured``."""
        return asdict(self)


@dataclass(frozen=True)
class DetectorTrainingSpec:
    """One training of a detector.

    Args:
        base_bundle: the bundle whose detector is trained further.
        training: pages to learn from.
        validation: pages that choose the best weights; none of them may be among ``training``.
        work_dir: checkpoints; may be deleted afterwards.
        seed: of all chance.
        num_threads: cores to use.
        max_seconds: of the loop; 0 only fits the settings to the labels.
        epochs: at least 40 steps each.
        batch_size: crops of a step.
        loop: learning rate and the like. Source of the rate: measured; at 3e-4 the weights of PP-OCRv6 small fell apart.
        crops: how pages are cut and changed.
    """

    base_bundle: Path
    training: tuple[LabelledPage, ...]
    validation: tuple[LabelledPage, ...]
    work_dir: Path
    seed: int = 0
    num_threads: int = 2
    max_seconds: float = 300.0
    epochs: int = 12
    batch_size: int = 2
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(learning_rate=1e-4, warmup_steps=20, average_decay=0.98, patience=4, clip_norm=5.0)
    )
    crops: CropConfig = field(default_factory=CropConfig)


@dataclass(frozen=True)
class DetectorTrainingResult:
    """The detector to use and what is known about it.

    Args:
        onnx: the trained graph, or the base's own.
        int8_onnx: the same in 8 bits; None where that finds clearly less.
        is_trained: which of the two.
        postprocess: settings fitted to the labels.
        hmean_base: of boxes (IoU of at least 0.5) on the validation pages, the base with its own settings.
        hmean: what is used from now on, with the fitted settings.
        parity: largest difference of probabilities between trained module and written graph; 0 where the base stands.
        num_steps: of the loop.
        seconds: by stage.
    """

    onnx: bytes
    int8_onnx: bytes | None
    is_trained: bool
    postprocess: DetectorParams
    hmean_base: float
    hmean: float
    parity: float
    num_steps: int
    seconds: Mapping[str, float]


def train_detector(spec: DetectorTrainingSpec, report: Report) -> DetectorTrainingResult:
    """Fit the base's detector to the given pages: its settings always, its weights where it finds too little as it is.

    Args:
        spec: pages, base, limits.
        report: called with progress, measurements and lines for the log, from this thread.

    Raises:
        NothingToTrain: no page with a box can be decoded.
        BundleInvalid: the base cannot be opened.
        GraphUnsupported: the base's detector cannot be trained here.
        LossNotFinite: training broke; nothing was written.
    """
    torch.set_num_threads(spec.num_threads)
    # Without it a step took 3.4 times as long: deep in PP-OCRv6's detector values come so near zero that a CPU computes them slowly.
    torch.set_flush_denormal(True)
    narrator = Narrator(report, _STAGES)
    base = open_bundle(spec.base_bundle)
    training, validation = _usable(spec.training), _usable(spec.validation)[:_MAX_VALIDATION_PAGES]
    if not training or not validation:
        raise NothingToTrain("There is no page with a box to learn from or none to validate on; label more pages.")

    narrator.enter("probe")
    own = base.manifest.postprocess
    planned = plan_input(training, own)
    graph = base.read(base.manifest.detector.file)
    trainee = _Trainee(graph, base.manifest.detector, planned, training, validation, spec)
    untrained = trainee.choose(graph, own)
    narrator.say(
        f"the base's detector: h-mean {untrained.hmean_base:.3f} on {len(validation)} validation pages, "
        f"{untrained.hmean:.3f} with settings fitted to the labels",
        det_hmean_base=untrained.hmean_base,
        det_hmean_fitted=untrained.hmean,
    )
    on_plan = trainee.choose(graph, planned)
    narrator.say(f"the heights of the boxes ask for pages of {planned.max_pixels / 1e6:.2f} megapixels; h-mean there {on_plan.hmean:.3f}")
    # A smaller area that costs boxes is worth its speed only to weights that have learnt it.
    kept = on_plan if on_plan.hmean >= untrained.hmean - _MAX_LOSS_OF_PLAN else untrained
    is_trained, num_steps, parity = False, 0, 0.0
    if kept.hmean >= _GOOD_ENOUGH:
        narrator.say(f"the base's detector stands: an h-mean of {_GOOD_ENOUGH} or more leaves training little to gain")
    elif spec.max_seconds > 0:
        narrator.enter("train")
        checkpoints = Checkpoints(spec.work_dir / "checkpoints", fingerprint=_fingerprint(spec, base))
        with trainee.stream() as crops:
            loop = trainee.loop(crops, checkpoints)
            if loop.step:
                narrator.say(f"going on after step {loop.step} of an earlier run")
            for step in loop.run():
                narrator.step(step)
        loop.load_best()
        checkpoints.delete()
        assert loop.best is not None
        num_steps = loop.step
        # On a tie the weights that have seen these pages: few boxes judge, and the base is known to miss some.
        is_trained = loop.best.closeness >= kept.closeness
        if is_trained:
            graph, parity = trainee.written()
            kept = trainee.choose(graph, planned)
            narrator.say(
                f"the trained detector is kept: h-mean {kept.hmean:.3f} after {num_steps} steps; parity {parity:.1e}", parity=parity
            )
        else:
            narrator.say(f"the base's detector stands: {num_steps} steps of training came to {loop.best.hmean:.3f}")

    narrator.enter("write")
    int8 = trainee.in_int8(graph, kept.params)
    narrator.progress(0.5)
    used, params = trainee.made_cheaper(graph, int8, kept.params)
    is_int8 = used is int8
    hmean = trainee.choose(used, params).hmean_base
    narrator.say(
        f"the fastest form that finds and fits boxes about as well: {'8 bits' if is_int8 else 'full precision'}, pages of at most "
        f"{params.max_pixels / 1e6:.2f} megapixels; h-mean {hmean:.3f}",
        det_hmean=hmean,
    )
    narrator.say(f"settings: threshold {params.threshold}, box threshold {params.box_threshold}, unclip ratio {params.unclip_ratio}")
    narrator.progress(1.0)
    return DetectorTrainingResult(
        graph, int8 if is_int8 else None, is_trained, params, untrained.hmean_base, hmean, parity, num_steps, narrator.seconds()
    )


class _Trainee:
    """A detector, the pages it learns from and those that judge it."""

    def __init__(
        self,
        graph: bytes,
        grid: GraphSpec,
        params: DetectorParams,
        training: Sequence[LabelledPage],
        validation: Sequence[LabelledPage],
        spec: DetectorTrainingSpec,
    ) -> None:
        self._graph = graph
        self._grid = grid
        self._params = params
        self._training = training
        self._validation = validation
        self._spec = spec
        # On a CPU twice as fast as the usual order of axes; the stubs of torch do not know the argument.
        self._module = OnnxModule(graph).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        blue, green, red = grid.mean
        # Not larger than a page is: what is filled up around it teaches nothing.
        side_px = DETECTOR_STRIDE_PX * round(math.sqrt(params.max_pixels) / DETECTOR_STRIDE_PX)
        self._crops = replace(
            spec.crops,
            size_px=min(spec.crops.size_px, side_px),
            fill=(255 * blue, 255 * green, 255 * red),
            unclip_ratio=params.unclip_ratio,
        )
        # Where two forms of the same weights are compared, pages they were trained on judge as fairly, and a handful of boxes would
        # call any form good enough.
        self._judges = [*validation, *training][: max(len(validation), _LEAST_JUDGES)]
        self._checks: list[CropBatch] = []
        self._probed: dict[tuple[bytes, int, int], dict[Path, ProbedPage]] = {}

    def choose(self, graph: bytes, params: DetectorParams) -> ChosenParams:
        """The settings that suit a graph best on the validation pages, scaled as ``params`` say."""
        return self._choose(graph, params, self._validation)

    def in_int8(self, graph: bytes, params: DetectorParams) -> bytes:
        """The graph in 8 bits, its scales measured on training pages."""
        pages = self._training[:: max(1, len(self._training) // _CALIBRATION_PAGES)][:_CALIBRATION_PAGES]
        return quantize(graph, [page_input(page, params, self._grid)[0] for page in pages])

    def made_cheaper(self, graph: bytes, int8: bytes, params: DetectorParams) -> tuple[bytes, DetectorParams]:
        """The form of the weights and the area that read fastest at next to no loss, with settings that suit them.

        Args:
            graph: in full precision.
            int8: the same in 8 bits, about twice as fast.
            params: settings and the largest area to try.
        """
        asked = {round(_SMALLER * self._params.max_pixels), self._params.max_pixels}
        areas = sorted({params.max_pixels, *(area for area in asked if LEAST_PIXELS <= area < params.max_pixels)})
        enough = self._choose(graph, params, self._judges).closeness - _MAX_LOSS_OF_CHEAPER
        for form in (int8, graph):
            for area in areas:
                chosen = self._choose(form, replace(params, max_pixels=area), self._judges)
                if chosen.closeness >= enough:
                    return form, chosen.params
        raise AssertionError("the last pair tried is the one that says what is enough")

    def stream(self) -> CropStream:
        """Crops of the training pages; to be closed."""
        return self._stream(self._training, self._crops)

    def loop(self, crops: CropStream, checkpoints: Checkpoints) -> TrainingLoop[DetectorValidation]:
        """The loop, where a crash left it or at its beginning."""
        spec = self._spec
        steady = replace(self._crops, zoom_low=1.0, zoom_high=1.0, turn_rad=0.0, on_text=1.0)
        with self._stream(self._validation, steady) as stream:
            num_batches = math.ceil(len(self._validation) / spec.batch_size)
            self._checks = [stream.at(step) for step in range(min(_VALIDATION_BATCHES, num_batches))]
        steps_per_epoch = max(_LEAST_STEPS_PER_EPOCH, math.ceil(len(self._training) / spec.batch_size))
        loop = TrainingLoop(
            dict(self._module.named_weights()),
            lambda step: (self._loss(crops.at(step)), spec.batch_size),
            self._validate,
            DetectorValidation,
            replace(spec.loop, max_seconds=spec.max_seconds),
            steps=spec.epochs * steps_per_epoch,
            steps_per_epoch=steps_per_epoch,
            checkpoints=checkpoints,
        )
        if (state := checkpoints.latest()) is not None:
            loop.load_state_dict(state)
        return loop

    def written(self) -> tuple[bytes, float]:
        """The graph with the trained weights, and how far its probabilities are from the module's.

        Raises:
            ParityBroken: too far.
        """
        graph = write_back(self._graph, self._module)
        inputs = [page_input(page, self._params, self._grid)[0] for page in self._validation[:_PARITY_PAGES]]
        parity = largest_difference(self._module, graph, inputs)
        if parity > PARITY_BOUND:
            raise ParityBroken(f"the written graph differs by {parity:.1e} from the trained module, more than {PARITY_BOUND:.0e}")
        return graph, parity

    def _choose(self, graph: bytes, params: DetectorParams, pages: Sequence[LabelledPage]) -> ChosenParams:
        """Pages are decoded and shown to the graph once for each scale, however often they are asked about."""
        known = self._probed.setdefault((hashlib.sha256(graph).digest(), params.target_short_side, params.max_pixels), {})
        if missing := [page for page in pages if page.image not in known]:
            detect = OpenVinoGraph(graph, num_threads=self._spec.num_threads)
            known.update(zip((page.image for page in missing), probe_pages(detect, missing, params, self._grid), strict=True))
        return choose_params([known[page.image] for page in pages], params)

    def _stream(self, pages: Sequence[LabelledPage], config: CropConfig) -> CropStream:
        return CropStream(pages, self._params, self._grid, config, batch_size=self._spec.batch_size, seed=self._spec.seed)

    def _loss(self, batch: CropBatch) -> Tensor:
        logits_B1HW = self._module.forward_until(self._module.logits_name, batch.x.contiguous(memory_format=torch.channels_last))
        return text_map_loss(logits_B1HW[:, 0], batch.text, batch.counted)

    def _validate(self) -> DetectorValidation:
        with torch.no_grad():
            loss = float(np.mean([self._loss(batch).item() for batch in self._checks]))
        chosen = self.choose(write_back(self._graph, self._module), self._params)
        return DetectorValidation(chosen.hmean, chosen.closeness, loss)


def _usable(pages: Sequence[LabelledPage]) -> list[LabelledPage]:
    usable = []
    for page in pages:
        try:
            decode_image(page.image.read_bytes())
        except (Fault, OSError):
            continue
        if any(not box.unreadable for box in page.boxes):
            usable.append(page)
    return usable


def _fingerprint(spec: DetectorTrainingSpec, base: Bundle) -> str:
    pages = [(page.image.name, [(box.quad.tolist(), box.unreadable) for box in page.boxes]) for page in spec.training]
    parts = (base.digest, spec.seed, spec.epochs, spec.batch_size, spec.loop, spec.crops, pages)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
