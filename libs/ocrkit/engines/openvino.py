"""Reading with OpenVINO on the CPU, in bfloat16 where the CPU computes in it."""

import numpy as np
import openvino
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.engines.engine import forward, refused
from libs.ocrkit.manifest import GraphSpec


class OpenVinoEngine:
    """Both graphs, compiled for any batch and size.

    Raises:
        BundleInvalid: OpenVINO refuses a graph.
    """

    def __init__(self, bundle: Bundle, *, num_threads: int) -> None:
        self._core = openvino.Core()
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bf16" if "BF16" in capabilities else "f32"
        self.name = f"openvino-{precision}"
        self._config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": num_threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Instances on one machine would all be pinned to its first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._detector = bundle.manifest.detector
        self._recognizer = bundle.manifest.recognizer
        self._detector_request = self._compile(bundle, self._detector)
        self._recognizer_request = self._compile(bundle, self._recognizer)

    def detect(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.detect``."""
        return self._run(self._detector_request, self._detector, x_B3HW)[:, 0]

    def recognize(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.recognize``."""
        return self._run(self._recognizer_request, self._recognizer, x_B3HW)

    def close(self) -> None:
        """See ``Engine.close``."""
        del self._detector_request, self._recognizer_request, self._core

    def _compile(self, bundle: Bundle, spec: GraphSpec) -> openvino.InferRequest:
        graph = bundle.read(spec.file)
        try:
            return self._core.compile_model(self._core.read_model(graph, b""), "CPU", self._config).create_infer_request()
        except RuntimeError as error:
            raise refused(bundle, spec.file, error) from error

    def _run(self, request: openvino.InferRequest, spec: GraphSpec, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        # Named, because the tensor only points into it: a temporary copy would be gone before the graph has run.
        contiguous_B3HW = np.ascontiguousarray(x_B3HW, dtype=np.float32)

        def run() -> NDArray[np.float32]:
            request.set_tensor(spec.input_name, openvino.Tensor(contiguous_B3HW, shared_memory=True))
            # Not infer(): with one thread it swallows what a graph throws and leaves an output of wrong shape (seen with 2026.4).
            request.start_async()
            request.wait()
            # The request keeps its output for the next run: a copy, or the caller's result changes under it.
            return np.array(request.get_tensor(spec.output_name).data, dtype=np.float32)

        return forward(run, file=spec.file, shape=x_B3HW.shape, engine=self.name)
