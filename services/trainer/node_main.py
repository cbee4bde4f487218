"""Entry of a node's child process: ``python -m services.trainer.node_main``, orders on stdin, JSON lines on stdout.

Each node's module is imported only in its own child. That keeps torch and gRPC in different processes.
"""

import importlib
import json
import os
import sys

from libs.runtime.call_context import Origin
from libs.runtime.errors import Fault
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec

MODULES = {
    "snapshot": "services.trainer.nodes.snapshot",
    "preflight": "services.trainer.nodes.preflight",
    "split": "services.trainer.nodes.split",
    "train-detector": "services.trainer.nodes.train_detector",
    "train-recognizer": "services.trainer.nodes.train_recognizer",
    "package": "services.trainer.nodes.package",
    "evaluate": "services.trainer.nodes.evaluate",
    "gate": "services.trainer.nodes.gate",
}
"""Modules by node; each has ``run(spec, report)``. The nodes that are always skipped have none."""


def main() -> int:
    """Run one node; exit code 0 when it is done, 1 when it said why it cannot be done."""
    # Libraries print: only our events may reach the worker's pipe, everything else becomes stderr.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spec = NodeSpec.from_json(json.loads(sys.stdin.readline()))
    report = Report(events)
    spec.folder.mkdir(parents=True, exist_ok=True)
    try:
        with Origin(spec.request_id, spec.traceparent).continued():
            importlib.import_module(MODULES[spec.node_id]).run(spec, report)
    except Fault as fault:
        report.failure(fault.reason, fault.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
