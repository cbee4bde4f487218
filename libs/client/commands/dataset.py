"""`inkctl dataset`: folders of images and their index."""

from typing import Annotated

import typer

from inkwright.dataset.v1 import dataset_pb2
from libs.client.inkwright import Inkwright
from libs.client.output import Exit, as_dict, console, counted, fail, print_fields, print_json, print_table, progress_bar, short
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer(help="Folders of images and their index.", no_args_is_help=True)

State = dataset_pb2.Dataset.State
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")]
Connection = Annotated[str, typer.Option(help="For OSS: a connection the operator has set up; without it, the one called `default`.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until the index is built.")]


@app.command()
@refusals_exit
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 30 letters, digits, `_`, `-`; starts with a letter or digit.")],
    path: Annotated[
        str, typer.Option(help="Where the images are: a folder of the server (a plain path or file://…), or oss://bucket/prefix/")
    ] = "",
    empty: Annotated[
        bool, typer.Option("--empty", help="For uploads: the folder may be empty, is made if missing, and chosen without --path.")
    ] = False,
    connection: Connection = "",
    description: Annotated[str, typer.Option(help="For people.")] = "",
    wait: Wait = True,
    as_json: JsonOption = False,
) -> None:
    """Register a folder, or a prefix in OSS, and index it. Images stay where they are."""
    if not path and not empty:
        fail("Give the images' folder with --path, or --empty for a dataset to upload into.", Exit.USAGE)
    client = inkwright(context)
    dataset = client.create_dataset(name, path=path, description=description, connection=connection, allow_empty=empty)
    show(follow(client, dataset.name) if wait and dataset.state != State.READY else dataset, as_json)


@app.command("test-connection")
@refusals_exit
def check_connection(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Of a dataset that is there; or give --path.")] = "",
    path: Annotated[str, typer.Option(help="As for `create`.")] = "",
    connection: Connection = "",
    as_json: JsonOption = False,
) -> None:
    """List, read one image and one label file, and say what worked. Writes nothing."""
    if bool(name) == bool(path):
        fail("Give the name of a dataset, or --path.", Exit.USAGE)
    client = inkwright(context)
    report = client.check_dataset_connection(name) if name else client.check_connection(path, connection=connection)
    if as_json:
        print_json(report)
    else:
        kind, result = dataset_pb2.ConnectionStep.Kind, dataset_pb2.ConnectionStep.Result
        print_table(
            ("STEP", "RESULT", "SECONDS", "WHAT WAS FOUND"),
            [(kind.Name(step.kind), result.Name(step.result), f"{step.seconds:.3f}", step.message) for step in report.steps],
        )
    if not report.passed:
        raise typer.Exit(int(Exit.ENDED_OTHERWISE))


@app.command()
@refusals_exit
def sync(context: typer.Context, name: Name, wait: Wait = True, as_json: JsonOption = False) -> None:
    """Compare the folder with the index: new, changed and removed images and labels."""
    client = inkwright(context)
    before = client.get_dataset(name).sync_number
    dataset = client.sync_dataset(name)
    show(follow(client, dataset.name, after_sync=before) if wait else dataset, as_json)


@app.command("list")
@refusals_exit
def list_all(context: typer.Context, as_json: JsonOption = False) -> None:
    """List datasets."""
    datasets = inkwright(context).list_datasets()
    if as_json:
        print_json(datasets)
        return
    columns = ("NAME", "STATE", "IMAGES", "LABELED", "UNLABELED", "REJECTED", "BOXES", "PATH")
    counts = [(row, row.counts) for row in datasets]
    print_table(
        columns,
        [
            (short(row.name), State.Name(row.state), n.num_images, n.num_labeled, n.num_unlabeled, n.num_rejected, n.num_boxes, row.path)
            for row, n in counts
        ],
    )


@app.command()
@refusals_exit
def get(
    context: typer.Context,
    name: Name,
    findings: Annotated[bool, typer.Option("--findings", help="Also list every row that something was found on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a dataset, its counts and what was found."""
    client = inkwright(context)
    dataset = client.get_dataset(name)
    rows = [image for image in client.list_images(name) if image.findings] if findings else []
    if as_json and findings:
        print_json(as_dict(dataset) | {"findings": [as_dict(row) for row in rows]})
        return
    show(dataset, as_json)
    if findings:
        severity = dataset_pb2.Finding.Severity
        print_table(
            ("IMAGE", "SEVERITY", "CODE", "LINE", "WHAT TO DO"),
            [(row.key, severity.Name(f.severity), f.code, f.line or "", f.message) for row in rows for f in row.findings],
            empty="nothing was found on any image",
        )


def follow(client: Inkwright, name: str, *, after_sync: int = 0) -> dataset_pb2.Dataset:
    """Show the progress of a sync until it has ended.

    Raises:
        SystemExit: the sync failed.
    """

    def ended(dataset: dataset_pb2.Dataset) -> bool:
        return dataset.state == State.FAILED or (dataset.state == State.READY and dataset.sync_number > after_sync)

    with progress_bar() as bar:
        line = bar.add_task(f"indexing {short(name)}", total=None)
        for dataset in client.watch(lambda: client.get_dataset(name), until=ended):
            seen = dataset.counts.num_images if ended(dataset) else dataset.progress.num_seen
            bar.update(line, completed=seen, total=seen if ended(dataset) else None)
    if dataset.state == State.FAILED:
        fail(f"indexing {short(name)} failed: {dataset.error_message}", Exit.ENDED_OTHERWISE)
    return dataset


def show(dataset: dataset_pb2.Dataset, as_json: bool) -> None:
    """Print one dataset."""
    if as_json:
        print_json(dataset)
        return
    counts = dataset.counts
    print_fields(
        [
            ("name", short(dataset.name)),
            ("description", dataset.description),
            ("path", dataset.path),
            *([("connection", dataset.connection)] if dataset.connection else []),
            ("state", State.Name(dataset.state)),
            ("error", dataset.error_message),
            ("images", counts.num_images),
            ("  labelled", counts.num_labeled),
            ("  unlabelled", counts.num_unlabeled),
            ("  rejected", counts.num_rejected),
            ("boxes", counts.num_boxes),
        ]
    )
    if counts.num_with_findings:
        console.print(f"\n{counted(counts.num_with_findings, 'image')} with findings: inkctl dataset get {short(dataset.name)} --findings")
