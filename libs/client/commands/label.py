"""`inkctl label`: pages, their boxes, suggestions and submission."""

import sys
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from inkwright.labeling.v1 import page_pb2
from libs.client.edits import WantedBox, edits, wanted_from_page
from libs.client.inkwright import Inkwright
from libs.client.output import Exit, console, counted, errors, fail, print_fields, print_json, print_table, progress_bar, short
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer(help="Pages, their boxes, suggestions and submission.", no_args_is_help=True)

PageState = page_pb2.Page.State
Prelabel = page_pb2.Prelabel
DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET")]
ImageArgument = Annotated[str, typer.Argument(metavar="IMAGE", help="Path below the dataset's folder, its stem, or an id.")]


class ListedState(StrEnum):
    """States of pages, as they are typed."""

    EMPTY = "empty"
    DRAFT = "draft"
    SUBMITTED = "submitted"
    RETURNED = "returned"
    CLOSED = "closed"


@app.command()
@refusals_exit
def prelabel(
    context: typer.Context,
    dataset: DatasetArgument,
    model: Annotated[str, typer.Option(help="A base or a trained model; default: the default base.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until all pages are read.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Let a model fill the empty pages with suggestions."""
    client = inkwright(context)
    run = client.create_prelabel(dataset, model=model)
    if wait:
        run = follow_prelabel(client, run.name)
    if as_json:
        print_json(run)
    elif wait and not run.num_images:
        console.print("no page is empty, nothing was read")
    else:
        console.print(f"{counted(run.num_done - run.num_failed, 'page')} with {counted(run.num_boxes, 'suggestion')} by {short(run.model)}")
        if run.num_failed:
            console.print(f"{run.num_failed} images could not be read; their pages stay empty")


def _listed(page: page_pb2.Page) -> tuple[object, ...]:
    lowest = f"{page.lowest_confidence:.2f}" if page.HasField("lowest_confidence") else ""
    return page.key, PageState.Name(page.state), page.num_boxes, page.num_suggestions, lowest, page.last_editor


def follow_prelabel(client: Inkwright, name: str) -> page_pb2.Prelabel:
    """Show the progress of a run until it has ended.

    Raises:
        SystemExit: the run failed.
    """
    with progress_bar() as bar:
        line = bar.add_task("reading pages", total=None)
        for run in client.watch(lambda: client.get_prelabel(name), until=lambda run: run.state != Prelabel.RUNNING):
            bar.update(line, completed=run.num_done, total=run.num_images)
    if run.state == Prelabel.FAILED:
        fail(f"prelabel failed: {run.error_message}", Exit.ENDED_OTHERWISE)
    return run


@app.command()
@refusals_exit
def get(
    context: typer.Context,
    dataset: DatasetArgument,
    image: Annotated[str, typer.Argument(metavar="[IMAGE]")] = "",
    state: Annotated[ListedState | None, typer.Option(help="Only pages in this state.")] = None,
    editor: Annotated[str, typer.Option(help="Only pages that this one edited last: `users/ann`, `installation`.")] = "",
    max_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only pages with a suggestion of at most this confidence, the least certain first.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the pages of a dataset, or show the boxes of one. `--json` of one page is what `save` takes."""
    client = inkwright(context)
    if not image:
        wanted = PageState.Value(state.name) if state else None
        pages = client.list_pages(dataset, state=wanted, editor=editor, max_confidence=max_confidence)
        if as_json:
            print_json(pages)
        else:
            print_table(("IMAGE", "STATE", "BOXES", "SUGGESTIONS", "LEAST CERTAIN", "EDITED BY"), [_listed(page) for page in pages])
        return
    page = client.get_page(page_name(client, dataset, image))
    if as_json:
        print_json([box.model_dump() for box in wanted_from_page(page)])
        return
    print_fields(
        [
            ("image", page.key),
            ("state", PageState.Name(page.state)),
            ("size", f"{page.width_px} x {page.height_px} px"),
            ("note", page.return_note),
        ]
    )
    source = page_pb2.Box.Source
    print_table(
        ("BOX", "TEXT", "SOURCE", "CONFIDENCE"),
        [
            (box.box_id, "###" if box.unreadable else box.text, source.Name(box.source), f"{box.confidence:.3f}" if box.model else "")
            for box in page.boxes
        ],
    )


@app.command()
@refusals_exit
def save(
    context: typer.Context,
    dataset: DatasetArgument,
    image: ImageArgument,
    file: Annotated[
        str, typer.Option("--file", "-f", help='JSON: [{"label", "pos": [[x, y] * 4], "unreadable"?, "box_id"?}] in pixels; - reads stdin.')
    ] = "-",
    as_json: JsonOption = False,
) -> None:
    """Make a page say what the file says."""
    text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    try:
        wanted = TypeAdapter(list[WantedBox]).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"{file}: {first['msg']}" + "".join(f" at {'/'.join(map(str, first['loc']))}" for _ in first["loc"][:1]), Exit.USAGE)
    client = inkwright(context)
    page = client.get_page(page_name(client, dataset, image))
    operations = edits(page, wanted)
    if operations:
        page = client.apply_operations(page.name, operations)
    if as_json:
        print_json(page)
    else:
        console.print(f"{page.key}: {_told(operations)}; {counted(page.num_boxes, 'box', 'boxes')}, {PageState.Name(page.state)}")


@app.command()
@refusals_exit
def submit(
    context: typer.Context,
    dataset: DatasetArgument,
    image: Annotated[str, typer.Argument(metavar="[IMAGE]")] = "",
    accept: Annotated[bool, typer.Option("--accept", help="Accept all suggestions of the pages first.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the labels beside the image; without IMAGE those of every draft."""
    client = inkwright(context)
    drafts = [client.get_page(page_name(client, dataset, image))] if image else client.list_pages(dataset, state=page_pb2.Page.DRAFT)
    submitted, waiting = [], []
    for draft in drafts:
        if accept and draft.num_suggestions:
            page = client.get_page(draft.name)
            client.apply_operations(page.name, edits(page, wanted_from_page(page)))
        elif draft.num_suggestions and not image:
            waiting.append(draft)
            continue
        submitted.append(client.submit_page(draft.name))
    if as_json:
        print_json(submitted)
    else:
        console.print(f"submitted {counted(len(submitted), 'page')}")
    if waiting:
        left = counted(len(waiting), "page")
        errors.print(f"left alone, with suggestions nobody accepted: {left}; correct them, or add --accept", markup=False, soft_wrap=True)


def _told(operations: Sequence[page_pb2.Operation]) -> str:
    """How many boxes were created, deleted and so on, as in ``1 created, 4 deleted``."""
    verbs = [str(operation.WhichOneof("kind")).split("_")[0] for operation in operations]
    kinds = Counter(f"{verb}d" if verb.endswith("e") else f"{verb}ed" for verb in verbs)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing to change"


def page_name(client: Inkwright, dataset: str, image: str) -> str:
    """Whole name of the page of an image."""
    return client.find_image(dataset, image).name.replace("/images/", "/pages/")
