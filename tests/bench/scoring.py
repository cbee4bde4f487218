"""`make score`: train on one folder through the real services, then score base, trained bundle and other readers on another."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from libs.client.rest import ApiError, Unreachable
from libs.ocrkit.bundle import open_bundle
from libs.ocrkit.reading import LineJson, list_images
from libs.runtime.errors import Fault
from tests.bench.reader_process import ReaderKind, ReaderProcess, inkwright, installed_peers
from tests.bench.reading_report import about_table, score_table
from tests.bench.report import CHECKOUT, Report, Table, command_line, name_of_data
from tests.bench.score import score_folder
from tests.bench.training_task import Trained, train

BUNDLES = CHECKOUT / "build" / "bench"
"""Where trained bundles are kept, so that `make bench-read` can measure the very same ones."""


def read_all(kind: ReaderKind, folder: Path) -> tuple[dict[str, Sequence[LineJson]], dict[str, str]]:
    """Lines of every image of a folder by stem, and what read them.

    Raises:
        RuntimeError: the reader ended.
        Fault: the folder holds no image.
    """
    with ReaderProcess(kind) as process:
        return {image.stem: process.read(image).lines for image in list_images(folder)}, process.about()


def training_tables(trained: Trained) -> list[Table]:
    """What the task took and what it says of its model."""
    model = trained.model
    names = sorted(model.metrics)
    return [
        Table(
            f"Task: {trained.minutes:.1f} minutes",
            ("node", "seconds", "what"),
            [(node.node_id, trained.node_seconds().get(node.node_id), node.message) for node in trained.task.nodes],
        ),
        Table(
            "The model's own measures, on validation images of the task",
            ("measure", "base", "trained"),
            [
                (name, f"{model.base_metrics[name]:.4f}" if name in model.base_metrics else None, f"{model.metrics[name]:.4f}")
                for name in names
            ],
        ),
        Table("Gate", ("verdict",), [(reason,) for reason in model.gate.reasons]),
    ]


def training_figures(trained: Trained) -> dict[str, object]:
    """The same for programs."""
    model = trained.model
    return {
        "minutes": round(trained.minutes, 2),
        "node_seconds": trained.node_seconds(),
        "metrics": dict(model.metrics),
        "base_metrics": dict(model.base_metrics),
        "gate": {"passed": model.gate.passed, "reasons": list(model.gate.reasons)},
        "num_characters": model.num_characters,
    }


def bundle_tables(metrics: Mapping[str, float]) -> list[Table]:
    """What a bundle says of itself, where it says anything."""
    rows = [(name, f"{value:.4f}") for name, value in sorted(metrics.items())]
    return [Table("The bundle's own measures", ("measure", "value"), rows)] if rows else []


def score(options: argparse.Namespace) -> Report:
    """Train where asked, read, score.

    Raises:
        ApiError, Unreachable, Fault, RuntimeError: a step was refused or failed.
    """
    name = options.out or name_of_data(options.dev)
    trained = train(options.train, BUNDLES / f"{name}.inkbundle") if options.train else None
    bundle = open_bundle(trained.bundle if trained else options.bundle)
    kinds = [inkwright("base", "base"), inkwright("trained", str(bundle.path.resolve())), *installed_peers()]
    scored, abouts, figures = [], [], {}
    for kind in kinds:
        print(f"{kind.title} reads", file=sys.stderr)
        read, about = read_all(kind, options.dev)
        counts = score_folder(options.dev, read, loose=options.loose)
        scored.append((kind, counts.measures()))
        abouts.append((kind, about))
        figures[kind.title] = {"about": about, "truth": counts.truth, "read": counts.read, "scores": counts.measures()}
    variables = {variable.upper(): getattr(options, variable) for variable in ("train", "dev", "bundle", "out")}
    return Report(
        name=f"score-{name}",
        title=f"Scores on {name}: bundle {bundle.digest[:12]}",
        command=command_line("score", **variables, LOOSE=int(options.loose)),
        tables=[
            score_table(scored, is_loose=options.loose),
            *(training_tables(trained) if trained else bundle_tables(bundle.manifest.metrics)),
            about_table(abouts),
        ],
        figures={
            "bundle": bundle.digest,
            "task": training_figures(trained) if trained else None,
            "bundle_metrics": dict(bundle.manifest.metrics),
            "readers": figures,
        },
    )


def main() -> None:
    """Score and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scoring", description="Train, then score beside other readers.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--train", type=Path, help="folder of labelled images to train on")
    source.add_argument("--bundle", type=Path, help="score this bundle, train nothing")
    parser.add_argument("--dev", type=Path, required=True, help="folder of labelled images to score on")
    parser.add_argument("--loose", action="store_true", help="score loosely folded text")
    parser.add_argument("--out", default="", help="name of report and bundle; default: that of the data")
    options = parser.parse_args()
    try:
        report = score(options)
    except (ApiError, Unreachable, Fault, RuntimeError) as error:
        sys.exit(f"score stopped: {error}")
    report.write()


if __name__ == "__main__":
    main()
