"""What runs a bundle. Two implementations stand beside this file; ``load_engine`` picks one."""

import logging
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle, BundleInvalid
from libs.runtime.errors import ForwardFailed

log = logging.getLogger(__name__)

EngineName = Literal["auto", "openvino", "onnxruntime"]
Precision = Literal["auto", "float"]
Mode = Literal["latency", "throughput"]


class Engine(Protocol):
    """Runs the two graphs of a bundle; may be called from several threads."""

    @property
    def name(self) -> str:
        """Engine and precision, such as ``openvino-bf16``."""

    @property
    def num_parallel(self) -> int:
        """How many batches of lines of one page are best recognized at once."""

    def detect(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Text probability, float32 (B, H, W) in [0, 1]; H and W are multiples of 32.

        Raises:
            ForwardFailed: the graph could not be run.
        """

    def recognize(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities, float32 (B, T, classes), of lines of the height the manifest names.

        Raises:
            ForwardFailed: the graph could not be run.
        """

    def close(self) -> None:
        """Give the memory back. Nothing may be run afterwards."""


def load_engine(
    bundle: Bundle, *, engine: EngineName = "auto", num_threads: int, precision: Precision = "auto", mode: Mode = "latency"
) -> Engine:
    """Load a bundle into an engine.

    Args:
        bundle: an opened one.
        engine: ``auto`` takes OpenVINO.
        num_threads: cores it may use.
        precision: ``auto`` takes the 8-bit graphs where the bundle has them and the engine is made for them; ``float`` never does.
        mode: ``latency`` puts all cores to each call, ``throughput`` gives each of so many threads that call at once a core of its own.

    Raises:
        BundleInvalid: the engine refuses a graph.
    """
    # Imported here, so that a process pays for the one engine it uses.
    match engine:
        case "auto" | "openvino":
            from libs.ocrkit.engines.openvino import OpenVinoEngine

            return OpenVinoEngine(bundle, num_threads=num_threads, precision=precision, mode=mode)
        case "onnxruntime":
            from libs.ocrkit.engines.onnxruntime import OnnxRuntimeEngine

            return OnnxRuntimeEngine(bundle, num_threads=num_threads if mode == "latency" else 1)


def refused(bundle: Bundle, file: str, error: Exception) -> BundleInvalid:
    """The fault for a graph that cannot be loaded."""
    log.warning("graph_refused", extra={"bundle": bundle.digest, "file": file, "cause": str(error)})
    # OpenVINO begins with where in its own sources it threw; what a person needs comes after.
    cause = " ".join(str(error).split()) or type(error).__name__
    return BundleInvalid(f"The engine refuses {file} of {bundle.path.name}: {cause[:500]}.", bundle=bundle.path.name, file=file)


def forward(run: Callable[[], NDArray[np.float32]], *, file: str, shape: tuple[int, ...], engine: str) -> NDArray[np.float32]:
    """Run a graph; whatever the engine throws becomes one fault that keeps the cause.

    Raises:
        ForwardFailed: the graph could not be run.
    """
    try:
        return run()
    except Exception as error:
        # Engines raise bare RuntimeErrors and types of their own: there is no common base below Exception.
        cause = " ".join(str(error).split())[:500] or type(error).__name__
        log.exception("forward_failed", extra={"graph": file, "engine": engine, "shape": list(shape)})
        message = "The model could not be run on this image; look at the log of the instance or deploy another model."
        raise ForwardFailed(message, file=file, engine=engine, shape=shape, cause=cause) from error
