"""Reading with OpenVINO on the CPU: in 8-bit integers where the bundle has them, else in bfloat16 where the CPU computes in it."""

import hashlib
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.engines.engine import Mode, Precision, forward, refused
from libs.ocrkit.engines.heap import trim_heap
from libs.ocrkit.engines.kept import KeptGraphs

log = logging.getLogger(__name__)

_DETECTOR_CACHE = 300
"""Operators of two or three sizes of page, of which there are about a hundred each; every further size would keep 8 MB for itself."""


class OpenVinoGraph:
    """One ONNX graph with one input and one output, compiled for any batch and size; may be called from several threads.

    Args:
        graph: the ONNX file.
        num_threads: cores it may use.
        num_streams: calls that run at once, each on its share of the cores.
        num_cached: operators made for one shape that are kept for the next time; None for as many as the engine likes.
        kept: where compiled graphs are kept for the next process; None to compile anew.

    Raises:
        RuntimeError: OpenVINO refuses it.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        num_threads: int,
        num_streams: int = 1,
        num_cached: int | None = None,
        kept: KeptGraphs | None = None,
    ) -> None:
        core = openvino.Core()
        self.precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": num_streams,
            # Instances on one machine would all be pinned to its first cores.
            "ENABLE_CPU_PINNING": False,
        }
        if num_cached is not None:
            config["CPU_RUNTIME_CACHE_CAPACITY"] = num_cached
        self._model = _compile(core, graph, config) if kept is None else _taken_up(core, graph, config, kept)
        self._local = threading.local()

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for an input.

        Raises:
            RuntimeError: OpenVINO could not run it.
        """
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._model.create_infer_request()
        # Named, because the tensor only points into it: a temporary copy would be gone before the graph has run.
        contiguous = np.ascontiguousarray(x, dtype=np.float32)
        request.set_input_tensor(openvino.Tensor(contiguous, shared_memory=True))
        # Not infer(): with one thread it swallows what a graph throws and leaves an output of wrong shape (seen with 2026.4).
        request.start_async()
        request.wait()
        # The request keeps its output for the next run: a copy, or the caller's result changes under it.
        return np.array(request.get_output_tensor().data, dtype=np.float32)


class OpenVinoEngine:
    """Both graphs of a bundle.

    Raises:
        BundleInvalid: OpenVINO refuses a graph.
    """

    def __init__(self, bundle: Bundle, *, num_threads: int, precision: Precision, mode: Mode) -> None:
        specs = bundle.manifest.detector, bundle.manifest.recognizer
        is_int8 = [precision == "auto" and bool(spec.int8_file) for spec in specs]
        self._files = [spec.int8_file if int8 else spec.file for spec, int8 in zip(specs, is_int8, strict=True)]
        # A page is one call of the detector and many of the recognizer.
        streams = [1 if mode == "latency" else num_threads, num_threads]
        # Side by side: each takes one core for a second.
        kept = KeptGraphs()
        with ThreadPoolExecutor(2, thread_name_prefix="compile") as pool:
            compiling = [
                pool.submit(_of_bundle, bundle, file, num_threads, num_streams, num_cached, kept)
                for file, num_streams, num_cached in zip(self._files, streams, (_DETECTOR_CACHE, None), strict=True)
            ]
            self._detector, self._recognizer = (graph.result() for graph in compiling)
        trim_heap()
        self.num_parallel = num_threads if mode == "latency" else 1
        names = ["int8" if int8 else self._detector.precision for int8 in is_int8]
        self.name = "openvino-" + "+".join(dict.fromkeys(names))

    def detect(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.detect``."""
        return forward(lambda: self._detector(x_B3HW), file=self._files[0], shape=x_B3HW.shape, engine=self.name)[:, 0]

    def recognize(self, x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Engine.recognize``."""
        return forward(lambda: self._recognizer(x_B3HW), file=self._files[1], shape=x_B3HW.shape, engine=self.name)

    def close(self) -> None:
        """See ``Engine.close``."""
        del self._detector, self._recognizer


def _of_bundle(bundle: Bundle, file: str, num_threads: int, num_streams: int, num_cached: int | None, kept: KeptGraphs) -> OpenVinoGraph:
    try:
        return OpenVinoGraph(bundle.read(file), num_threads=num_threads, num_streams=num_streams, num_cached=num_cached, kept=kept)
    except RuntimeError as error:
        raise refused(bundle, file, error) from error


def _compile(core: openvino.Core, graph: bytes, config: Mapping[str, object]) -> openvino.CompiledModel:
    return core.compile_model(core.read_model(graph, b""), "CPU", dict(config))


def _taken_up(core: openvino.Core, graph: bytes, config: Mapping[str, object], kept: KeptGraphs) -> openvino.CompiledModel:
    """A graph that an earlier process compiled by the same engine for the same processor, else one compiled now and kept."""
    processor = core.get_property("CPU", "FULL_DEVICE_NAME"), core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    made_by = repr((openvino.__version__, processor, sorted(config.items())))
    key = hashlib.sha256(made_by.encode() + graph).hexdigest()
    content = kept.find(key)
    if content is not None:
        try:
            return core.import_model(content, "CPU", dict(config))
        except RuntimeError as error:
            log.warning("compiled_graph_refused", extra={"cause": str(error)})
    model = _compile(core, graph, config)
    kept.keep(key, model.export_model().getvalue())
    return model
