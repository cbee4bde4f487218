"""How a node speaks to the worker: JSON lines, one event each. Standard library only, as ``spec``."""

import json
import math
import threading
from typing import TextIO


class Report:
    """Writes events; safe from several threads.

    ``progress``, ``log`` and ``info`` may come in any number and order; ``failure`` is the last.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def progress(self, fraction: float, message: str = "", **measures: float) -> None:
        """How far it is, in [0, 1], what it does now, and the running measures; those that are not finite are left out."""
        finite = {name: value for name, value in measures.items() if math.isfinite(value)}
        self._emit({"type": "progress", "fraction": fraction, "message": message, "measures": finite})

    def log(self, message: str, *, level: str = "info") -> None:
        """A line for the task's log; ``level`` is ``debug``, ``info``, ``warning`` or ``error``."""
        self._emit({"type": "log", "level": level, "message": message})

    def info(self, **values: object) -> None:
        """Facts about the result by name."""
        self._emit({"type": "info", "values": {name: str(value) for name, value in values.items()}})

    def failure(self, reason: str, message: str) -> None:
        """Why it cannot be done: a value of ``ErrorReason`` and a sentence for a person."""
        self._emit({"type": "failure", "reason": reason, "message": message})

    def _emit(self, event: dict[str, object]) -> None:
        line = json.dumps(event, ensure_ascii=False)
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()
