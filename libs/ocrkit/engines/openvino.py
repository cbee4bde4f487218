"""Reading with OpenVINO on the CPU, in bfloat16 where the CPU computes in it."""

import numpy as np
import openvino
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.engines.engine import forward, refused


class OpenVinoGraph:
    """One ONNX graph with one input and one output, compiled for any batch and size.

    Args:
        graph: the ONNX file.
        num_threads: cores it may use.

    Raises:
        RuntimeError: OpenVINO refuses it.
    """

    def __init__(self, graph: bytes, *, num_threads: int) -> None:
        core = openvino.Core()
        self.precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": num_threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Instances on one machine would all be pinned to its first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._request = core.compile_model(core.read_model(graph, b""), "CPU", config).create_infer_request()

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for an input.

        Raises:
            RuntimeError: OpenVINO could not run it.
        """
        # Named, because the tensor only points into it: a temporary copy would be gone before the graph has run.
        contiguous = np.ascontiguousarray(x, dtype=np.float32)
        self._request.set_input_tensor(openvino.Tensor(contiguous, shared_memory=True))
        # Not infer(): with one thread it swallows what a graph throws and leaves an output of wrong shape (seen with 2026.4).
        self._request.start_async()
        self._request.wait()
        # The request keeps its output for the next run: a copy, or the caller's result changes under it.
        return np.array(self._request.get_output_tensor().data, dtype=np.float32)


class OpenVinoEngine:
    """Both graphs of a bundle.

    Raises:
        BundleInvalid: OpenVINO refuses a graph.
    """

    def __init__(self, bundle: Bundle, *, num_threads: int) -> None:
        self._files = bundle.manifest.detector.file, bundle.manifest.recognizer.file
        self._detector, self._recognizer = (_compiled(bundle, file, num_threads) for file in self._files)
        self.name = f"openvino-{self._detector.precision}"

    def detect(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.detect``."""
        return forward(lambda: self._detector(x_B3HW), file=self._files[0], shape=x_B3HW.shape, engine=self.name)[:, 0]

    def recognize(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.recognize``."""
        return forward(lambda: self._recognizer(x_B3HW), file=self._files[1], shape=x_B3HW.shape, engine=self.name)

    def close(self) -> None:
        """See ``Engine.close``."""
        del self._detector, self._recognizer


def _compiled(bundle: Bundle, file: str, num_threads: int) -> OpenVinoGraph:
    try:
        return OpenVinoGraph(bundle.read(file), num_threads=num_threads)
    except RuntimeError as error:
        raise refused(bundle, file, error) from error
