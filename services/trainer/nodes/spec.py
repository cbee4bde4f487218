"""What a node is told, and the files through which the nodes of a task hand on their results.

Standard library only: the entry of every child imports it, and a child must not import what it does not use.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class NodeSpec:
    """Orders of one try of one node.

    Args:
        task: name of the task.
        version: name of the frozen version.
        dataset_address: where the dataset service answers.
        access_token: with which it lets the node look.
        tls: files of certificate, key and authority; ``None`` for plain connections.
        folder: the task's work folder; gone when the task ends.
        base: name of the base model; empty until ``preflight`` has chosen one.
        bases: file of the base by its name; of all bases while none is chosen, the default first.
        mode: ``AUTO``, ``FAST`` or ``FULL``.
        validation_fraction: share of labelled images held out.
        num_threads: cores it may use.
        max_training_seconds: longest time of the training itself.
        code_version: of this program.
        request_id: of the request that the task was made for.
        traceparent: of the span in which the node runs; empty outside of a trace.
    """

    node_id: str
    task: str
    version: str
    dataset_address: str
    access_token: str = field(repr=False)
    tls: tuple[str, ...] | None
    folder: Path
    base: str
    bases: dict[str, str]
    mode: str
    validation_fraction: float
    num_threads: int
    max_training_seconds: float
    code_version: str
    request_id: str = ""
    traceparent: str = ""

    def to_json(self) -> dict[str, Any]:
        """The form in which it travels to the child."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, orders: dict[str, Any]) -> "NodeSpec":
        """The spec a parent sent."""
        return cls(**{**orders, "folder": Path(orders["folder"])})

    @property
    def base_bundle(self) -> Path:
        """The file of the base."""
        return Path(self.bases[self.base])

    @property
    def images_folder(self) -> Path:
        """Copies of the labelled images."""
        return self.folder / "images"

    @property
    def manifest_file(self) -> Path:
        """By ``snapshot``: the version's pages and counts."""
        return self.folder / "manifest.json"

    @property
    def pages_file(self) -> Path:
        """By ``preflight``: the pages that can be used."""
        return self.folder / "pages.json"

    @property
    def base_file(self) -> Path:
        """By ``preflight``: the name of the base to begin with."""
        return self.folder / "base.json"

    @property
    def split_file(self) -> Path:
        """By ``split``: keys of training and validation pages."""
        return self.folder / "split.json"

    @property
    def detector_folder(self) -> Path:
        """Checkpoints of ``train-detector``."""
        return self.folder / "detector"

    @property
    def begun_bundle_file(self) -> Path:
        """By ``train-detector``: the detector to use with the base's recognizer, which ``train-recognizer`` begins with."""
        return self.folder / "begun.inkbundle"

    @property
    def detector_file(self) -> Path:
        """By ``train-detector``: what is known about the detector."""
        return self.folder / "detector.json"

    @property
    def training_folder(self) -> Path:
        """Caches and checkpoints of ``train-recognizer``."""
        return self.folder / "training"

    @property
    def recognizer_file(self) -> Path:
        """By ``train-recognizer``: the written graph."""
        return self.folder / "rec.onnx"

    @property
    def int8_recognizer_file(self) -> Path:
        """By ``train-recognizer``: the same in 8 bits."""
        return self.folder / "rec.int8.onnx"

    @property
    def training_file(self) -> Path:
        """By ``train-recognizer``: what is known about the graph."""
        return self.folder / "training.json"

    @property
    def bundle_file(self) -> Path:
        """By ``package``."""
        return self.folder / "model.inkbundle"

    @property
    def evaluation_file(self) -> Path:
        """By ``evaluate``: measures of the model and of its base."""
        return self.folder / "evaluation.json"

    @property
    def verdict_file(self) -> Path:
        """By ``gate``."""
        return self.folder / "verdict.json"


def write_json(path: Path, value: object) -> None:
    """Write a file whole or not at all; a node that is killed leaves none."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """Read what another node wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
