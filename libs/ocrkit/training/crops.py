"""Batches for the detector, made ahead by another thread while the network learns."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.image_io import decode_image
from libs.ocrkit.manifest import GraphSpec
from libs.ocrkit.preprocess import detector_scale, normalize_page
from libs.ocrkit.training.data import LabelledPage
from libs.ocrkit.training.text_maps import CropConfig, crop_page

__all__ = ["CropBatch", "CropStream"]

_BATCHES_AHEAD = 4
_WORTH_REDUCING = 0.7
_QUALITY = 95


@dataclass(frozen=True)
class CropBatch:
    """Crops as the network takes them, float32 (B, 3, H, W), and their maps, float32 (B, H, W); see ``TextMap``."""

    x: Tensor
    text: Tensor
    counted: Tensor


class CropStream:
    """Crops of pages; each page comes once an epoch, and a step alone says which crops are in its batch.

    Args:
        pages: at least one; all of them can be decoded.
        params: the scale planned for reading.
        spec: how the network is fed.
        config: how pages are cut and changed.
        batch_size: crops of a step.
        seed: of all chance.
    """

    def __init__(
        self, pages: Sequence[LabelledPage], params: DetectorParams, spec: GraphSpec, config: CropConfig, *, batch_size: int, seed: int
    ) -> None:
        self._pages = pages
        self._params = params
        self._spec = spec
        self._config = config
        self._batch_size = batch_size
        self._seed = seed
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crops")
        self._made: dict[int, Future[CropBatch]] = {}
        # Scans are many times larger than any crop needs: each is decoded once and kept as small as the largest zoom allows.
        self._folder = tempfile.TemporaryDirectory(prefix="crops-")
        self._reduced_by: dict[int, float] = {}

    def at(self, step: int) -> CropBatch:
        """The batch of a step, counted from 0; those of the next steps are begun."""
        for wanted in range(step, step + _BATCHES_AHEAD):
            if wanted not in self._made:
                self._made[wanted] = self._pool.submit(self._batch, wanted)
        return self._made.pop(step).result()

    def _batch(self, step: int) -> CropBatch:
        made = [self._crop(step * self._batch_size + index) for index in range(self._batch_size)]
        x_B3HW, text_BHW, counted_BHW = (torch.from_numpy(np.stack(parts)) for parts in zip(*made, strict=True))
        return CropBatch(x_B3HW, text_BHW, counted_BHW)

    def _crop(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        epoch, position = divmod(number, len(self._pages))
        index = int(np.random.default_rng([self._seed, epoch]).permutation(len(self._pages))[position])
        image_HW3, factor, scale = self._image(index)
        boxes = self._pages[index].boxes
        readable = [factor * box.quad for box in boxes if not box.unreadable]
        unreadable = [factor * box.quad for box in boxes if box.unreadable]
        rng = np.random.default_rng([self._seed, epoch, position])
        crop_HW3, target = crop_page(image_HW3, scale, readable, unreadable, rng, self._config)
        return normalize_page(crop_HW3, mean=self._spec.mean, std=self._spec.std), target.text, target.counted

    def _image(self, index: int) -> tuple[NDArray[np.uint8], float, float]:
        """A page, by how much it is reduced, and network pixels a pixel of it."""
        reduced = Path(self._folder.name) / f"{index}.jpg"
        if index not in self._reduced_by:
            image_HW3 = decode_image(self._pages[index].image.read_bytes())
            height, width = image_HW3.shape[:2]
            factor = self._config.zoom_high * detector_scale(width, height, self._params)
            if factor >= _WORTH_REDUCING:
                return image_HW3, 1.0, factor / self._config.zoom_high
            size = max(1, round(width * factor)), max(1, round(height * factor))
            small_HW3 = cv2.resize(image_HW3, size, interpolation=cv2.INTER_AREA)
            reduced.write_bytes(cv2.imencode(".jpg", small_HW3, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
            self._reduced_by[index] = factor
        return decode_image(reduced.read_bytes()), self._reduced_by[index], 1 / self._config.zoom_high

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()
