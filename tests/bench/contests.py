"""What `make bench-train` sets against each other: the loss of the training loop, data included, and that of batches made before.

Letters in names: B batch, C channels, T time steps, H height, W width.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.graph.module import OnnxModule
from libs.ocrkit.graph.surgery import cut_head, cut_until
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.preprocess import fit_line, normalize_lines, warp_line
from libs.ocrkit.reader import plan_batches
from libs.ocrkit.training.batches import BatchOrder, LineBatch, TrainingLines
from libs.ocrkit.training.cache import FeatureCache
from libs.ocrkit.training.crops import CropBatch, CropStream
from libs.ocrkit.training.data import LabelledPage, charset_of, collect_lines
from libs.ocrkit.training.detector import DetectorTrainingSpec
from libs.ocrkit.training.features import Backbone
from libs.ocrkit.training.line_loss import LineLoss
from libs.ocrkit.training.loop import LoopConfig
from libs.ocrkit.training.losses import ctc_loss, text_map_loss
from libs.ocrkit.training.spec import RecognizerTrainingSpec

_WIDTH_PER_BATCH_PX, _MAX_LINES_PER_BATCH = 48 * 320, 64
"""As the recognizer's training fills its batches."""

_TIMES_EACH_LINE = 8
"""So few pages would not fill a batch otherwise."""


@dataclass(frozen=True)
class Contest:
    """One network twice, with equal weights: in the loop, and bare.

    Args:
        title: for the table.
        weights: the loop's.
        loss_at: of the loop: batch, forward pass, loss; and the number of samples.
        bare_weights: of the other copy.
        prepare: makes the batches of some steps.
        bare_loss: forward pass and loss of a prepared batch.
        config: how both move their weights.
        turn: entered by the loop for a number of steps; what works ahead for it has stopped when it is left.
        turn_steps: steps of a turn: few where nothing works ahead, so many that beginning anew weighs nothing where something does.
        num_steps: that give a steady figure.
    """

    title: str
    weights: Mapping[str, nn.Parameter]
    loss_at: Callable[[int], tuple[Tensor, int]]
    bare_weights: Mapping[str, nn.Parameter]
    prepare: Callable[[Sequence[int]], Sequence[LineBatch | CropBatch]]
    bare_loss: Callable[[LineBatch | CropBatch], Tensor]
    config: LoopConfig
    turn: Callable[[], AbstractContextManager[object]]
    turn_steps: int
    num_steps: int


def recognizer_contest(base: Bundle, pages: Sequence[LabelledPage], folder: Path) -> Contest:
    """Fast training of the recognizer: neck and head on cached features."""
    spec = RecognizerTrainingSpec(base.path, tuple(pages), tuple(pages), folder)
    samples = collect_lines(pages).samples
    charset = charset_of(sample.text for sample in samples)
    graph = cut_head(base.read(base.manifest.recognizer.file), base.charset, charset, seed=spec.seed)
    modules = OnnxModule(graph), OnnxModule(graph)
    cut_at = modules[0].output_of("AveragePool")
    cache = FeatureCache(folder / "features", max_bytes=spec.features.max_cache_bytes)
    with Backbone(cut_until(graph, cut_at), num_threads=os.cpu_count() or 1) as backbone:
        for number, sample in enumerate(samples):
            line_HW3 = fit_line(warp_line(decode_image(sample.image.read_bytes()), sample.quad))
            ((width_px, _),) = plan_batches([line_HW3.shape[1]])
            features_1CHT = backbone.start(normalize_lines([line_HW3], width_px)).result()
            cache.add(str(number), width_px, features_1CHT[0])
    cache.flush()
    rows = tuple(cache.row(str(number)) for number in range(len(samples)))
    labels = tuple(tuple(charset.encode(sample.text)) for sample in samples)
    lines = TrainingLines(cache, rows * _TIMES_EACH_LINE, labels * _TIMES_EACH_LINE, (True,) * (len(rows) * _TIMES_EACH_LINE))
    # An order each: one that is asked for two epochs in turn shuffles again each time.
    order, prepared_order = (
        BatchOrder(lines.rows, width_per_batch_px=_WIDTH_PER_BATCH_PX, max_lines=_MAX_LINES_PER_BATCH, seed=spec.seed) for _ in range(2)
    )
    weights = [dict(module.named_weights(after=cut_at)) for module in modules]
    for module, trained in zip(modules, weights, strict=True):
        for name, weight in module.named_weights():
            weight.requires_grad_(name in trained)

    def logits(module: OnnxModule, features_BCHT: Tensor) -> Tensor:
        return module.forward_from(cut_at, features_BCHT, until=module.logits_name)

    def bare_loss(batch: LineBatch | CropBatch) -> Tensor:
        assert isinstance(batch, LineBatch)
        return ctc_loss(logits(modules[1], batch.features), batch.labels)

    return Contest(
        title="recognizer, fast",
        weights=weights[0],
        loss_at=LineLoss(lambda features_BCHT: logits(modules[0], features_BCHT), lines, order, spec.roughen, seed=spec.seed),
        bare_weights=weights[1],
        prepare=lambda steps: [lines.batch(prepared_order.at(step)) for step in steps],
        bare_loss=bare_loss,
        config=spec.loop,
        turn=nullcontext,
        turn_steps=1,
        num_steps=200,
    )


def detector_contest(base: Bundle, pages: Sequence[LabelledPage], folder: Path) -> Contest:
    """Training of the detector: all weights, on crops made while it learns."""
    spec = DetectorTrainingSpec(base.path, tuple(pages), tuple(pages), folder)
    graph = base.read(base.manifest.detector.file)
    # The stubs of torch do not know the argument.
    modules = [OnnxModule(graph).to(memory_format=torch.channels_last) for _ in range(2)]  # type: ignore[call-overload]
    running: list[CropStream] = []

    def stream() -> CropStream:
        detector, params = base.manifest.detector, base.manifest.postprocess
        running[:] = [CropStream(pages, params, detector, spec.crops, batch_size=spec.batch_size, seed=spec.seed)]
        return running[0]

    def loss(module: OnnxModule, batch: CropBatch) -> Tensor:
        logits_B1HW = module.forward_until(module.logits_name, batch.x.contiguous(memory_format=torch.channels_last))
        return text_map_loss(logits_B1HW[:, 0], batch.text, batch.counted)

    def bare_loss(batch: LineBatch | CropBatch) -> Tensor:
        assert isinstance(batch, CropBatch)
        return loss(modules[1], batch)

    def prepare(steps: Sequence[int]) -> list[CropBatch]:
        with stream() as crops:
            return [crops.at(step) for step in steps]

    return Contest(
        title="detector",
        weights=dict(modules[0].named_weights()),
        loss_at=lambda step: (loss(modules[0], running[0].at(step)), spec.batch_size),
        bare_weights=dict(modules[1].named_weights()),
        prepare=prepare,
        bare_loss=bare_loss,
        config=spec.loop,
        turn=stream,
        turn_steps=10,
        num_steps=40,
    )
