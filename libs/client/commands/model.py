"""`inkctl model`: models and their bundles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from inkwright.trainer.v1 import model_pb2
from libs.client.output import Exit, console, fail, print_fields, print_json, print_table, short
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer(help="Models and their bundles.", no_args_is_help=True)

Model = model_pb2.Model
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]


@app.command("list")
@refusals_exit
def list_all(context: typer.Context, as_json: JsonOption = False) -> None:
    """List models, newest first, bases last."""
    models = inkwright(context).list_models()
    if as_json:
        print_json(models)
        return
    rows = [
        (
            short(model.name),
            Model.Origin.Name(model.origin),
            Model.State.Name(model.state),
            measure(model.metrics, "line_accuracy"),
            measure(model.metrics, "cer"),
            f"{sum(model.model_size.values()) / 1e6:.1f}",
            verdict(model),
        )
        for model in models
    ]
    print_table(("NAME", "ORIGIN", "STATE", "LINE ACCURACY", "CER", "MB", "GATE"), rows)


@app.command()
@refusals_exit
def get(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """Show a model, its measures beside the base's, and the gate's verdict."""
    model = inkwright(context).get_model(name)
    if as_json:
        print_json(model)
        return
    print_fields(
        [
            ("name", short(model.name)),
            ("origin", Model.Origin.Name(model.origin)),
            ("state", Model.State.Name(model.state)),
            ("task", short(model.task)),
            ("dataset version", model.dataset_version),
            ("base", short(model.base)),
            ("characters", model.num_characters),
            ("charset digest", model.charset_digest),
            ("bundle digest", model.bundle_digest),
            ("code version", model.code_version),
            ("deployments", ", ".join(short(name) for name in model.deployments)),
        ]
    )
    if model.metrics:
        console.print()
        names = list(dict.fromkeys(["loss", *sorted(model.metrics)]))
        print_table(("MEASURE", "THIS MODEL", "BASE"), [(n, measure(model.metrics, n), measure(model.base_metrics, n)) for n in names])
    print_table(("VARIANT", "MODEL_SIZE (BYTES)"), [(variant, f"{size:,}") for variant, size in model.model_size.items()])
    for reason in model.gate.reasons:
        console.print(reason, markup=False, soft_wrap=True)


@app.command()
@refusals_exit
def export(context: typer.Context, name: Name, out: Annotated[Path, typer.Option("--output", "-o", help="File to write.")]) -> None:
    """Write a model's bundle to a file."""
    if not out.parent.is_dir():
        fail(f"{out.parent} is no folder", Exit.USAGE)
    size_bytes = inkwright(context).export_model(name, out)
    console.print(f"{out}: {size_bytes:,} bytes", markup=False)


@app.command("import")
@refusals_exit
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A bundle.")],
    name: Annotated[str, typer.Option(help="Name of the new model; default: the file's stem.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Bring a bundle in as a model."""
    model = inkwright(context).import_model(name or file.stem, file)
    if as_json:
        print_json(model)
    else:
        console.print(f"imported {short(model.name)}, bundle {model.bundle_digest[:12]}")


def measure(measures: Mapping[str, float], name: str) -> str:
    """A measure with four digits; empty where there is none."""
    return f"{measures[name]:.4f}" if name in measures else ""


def verdict(model: model_pb2.Model) -> str:
    """The gate in one word; empty where none ran."""
    if not model.HasField("gate"):
        return ""
    return "passed" if model.gate.passed else "held back"
