"""Reading with ONNX Runtime on the CPU."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.engines.engine import forward, refused
from libs.ocrkit.manifest import GraphSpec


class OnnxRuntimeEngine:
    """Both graphs in float32.

    Raises:
        BundleInvalid: ONNX Runtime refuses a graph.
    """

    def __init__(self, bundle: Bundle, *, num_threads: int) -> None:
        self.name = "onnxruntime-fp32"
        self.num_parallel = 1
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Spinning wins a little when alone and loses a lot when several instances share the cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._detector = bundle.manifest.detector
        self._recognizer = bundle.manifest.recognizer
        self._detector_session = _session(bundle, self._detector.file, options)
        self._recognizer_session = _session(bundle, self._recognizer.file, options)

    def detect(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.detect``."""
        return self._run(self._detector_session, self._detector, x_B3HW)[:, 0]

    def recognize(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.recognize``."""
        return self._run(self._recognizer_session, self._recognizer, x_B3HW)

    def close(self) -> None:
        """See ``Engine.close``."""
        del self._detector_session, self._recognizer_session

    def _run(self, session: onnxruntime.InferenceSession, spec: GraphSpec, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        def run() -> NDArray[np.float32]:
            return np.asarray(session.run([spec.output_name], {spec.input_name: x_B3HW})[0], dtype=np.float32)

        return forward(run, file=spec.file, shape=x_B3HW.shape, engine=self.name)


def _session(bundle: Bundle, file: str, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    graph = bundle.read(file)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime's exceptions are its own and share no base.
        raise refused(bundle, file, error) from error
