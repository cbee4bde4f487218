"""What a bundle says about itself."""

import hashlib
import json
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.ocrkit.charset import Charset
from libs.ocrkit.detector_params import DetectorParams
from libs.ocrkit.preprocess import LINE_HEIGHT_PX, MAX_LINE_WIDTH_PX

Triple = tuple[float, float, float]

DETECTOR_FILE = "det.onnx"
RECOGNIZER_FILE = "rec.onnx"
INT8_DETECTOR_FILE = "det.int8.onnx"
INT8_RECOGNIZER_FILE = "rec.int8.onnx"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Part):
    """Digest and size of one file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)


class GraphSpec(_Part):
    """How one ONNX graph is fed.

    ``int8_file`` is the same graph with 8-bit weights and activations, empty where there is none.
    ``mean`` and ``std`` are of ``x / 255`` in the channel order of the input; the detector's output is (B, 1, H, W) in [0, 1],
    the recognizer's (B, T, classes), a softmax.
    """

    file: str
    int8_file: str = ""
    input_name: str
    output_name: str
    color_order: Literal["BGR"] = "BGR"
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)


class RecognizerSpec(GraphSpec):
    """The recognizer reads lines of a fixed height and any width up to a limit."""

    height_px: int = LINE_HEIGHT_PX
    max_width_px: int = MAX_LINE_WIDTH_PX


class CharsetSpec(_Part):
    """The characters in the order of their classes (class 0, the blank, is not among them) and the digest over them."""

    characters: tuple[str, ...]
    digest: str

    @model_validator(mode="after")
    def _digest_fits(self) -> "CharsetSpec":
        if Charset(self.characters).digest != self.digest:
            raise ValueError("the digest of the charset does not fit its characters")
        return self

    @classmethod
    def of(cls, charset: Charset) -> "CharsetSpec":
        """The spec of a charset."""
        return cls(characters=charset.characters, digest=charset.digest)


class Manifest(_Part):
    """The contract between training and reading.

    Args:
        name: of the model, for people.
        base: digest of the bundle it was trained from; None for a base.
        dataset_version: resource name of the version it was trained on; empty for a base.
        code_version: of the program that wrote it.
        metrics: name to number; what they were measured on stands in the trainer.
        parity: largest difference between the trained module and the written graph, by graph.
        files: filled in when the bundle is written.
        license_notice: whose weights these are and under what terms.
    """

    schema_version: Literal[1] = 1
    task: Literal["ocr"] = "ocr"
    name: str
    base: str | None = None
    detector: GraphSpec
    recognizer: RecognizerSpec
    charset: CharsetSpec
    postprocess: DetectorParams = DetectorParams()
    dataset_version: str = ""
    code_version: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    parity: dict[str, float] = Field(default_factory=dict)
    files: dict[str, FileEntry] = Field(default_factory=dict)
    license_notice: str = ""

    def with_files(self, files: Mapping[str, bytes]) -> "Manifest":
        """The same manifest, listing these files."""
        entries = {name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)) for name, data in files.items()}
        return self.model_copy(update={"files": entries})

    @property
    def graph_files(self) -> dict[str, GraphSpec]:
        """Every graph of the bundle: its file and how it is fed."""
        specs = (self.detector, self.recognizer)
        return {file: spec for spec in specs for file in (spec.file, spec.int8_file) if file}

    @property
    def digest(self) -> str:
        """sha256 (hex) of the manifest as it is written now, which is the digest of a bundle written from it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The one way a manifest is written."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True, indent=1).encode() + b"\n"
