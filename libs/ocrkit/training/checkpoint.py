"""Checkpoints on disk: written whole or not at all, the newest two kept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

__all__ = ["Checkpoints"]


class Checkpoints:
    """Numbered files of one training.

    Args:
        folder: made when missing.
        fingerprint: of everything that must be equal to go on: spec, lines, charset. A checkpoint of another training is not loaded.
        keep: newest files kept.
    """

    def __init__(self, folder: Path, *, fingerprint: str, keep: int = 2) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._fingerprint = fingerprint
        self._keep = keep

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write the state after ``step`` steps, then drop what is older than the newest two."""
        path = self._folder / f"step-{step:08d}.pt"
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save({"fingerprint": self._fingerprint, "state": dict(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        for old in self._paths()[: -self._keep]:
            old.unlink()
        return path

    def latest(self) -> dict[str, Any] | None:
        """The newest readable state of this training, None to begin anew. A damaged file gives way to the one before it."""
        for path in reversed(self._paths()):
            try:
                content = torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, ValueError):
                continue
            if content["fingerprint"] == self._fingerprint:
                state: dict[str, Any] = content["state"]
                return state
        return None

    def delete(self) -> None:
        """Remove all files of the folder."""
        for path in self._paths():
            path.unlink()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.pt"))
