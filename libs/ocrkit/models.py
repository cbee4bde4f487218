"""The base models: where they come from and where their bundles lie. ``make models`` (``make_models.py``) brings them here."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from libs.ocrkit.bundle import SUFFIX
from libs.ocrkit.detector_params import DetectorParams
from libs.runtime.errors import NotFound

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
