"""`inkctl dataset search` and `grep`: what labels say."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2, search_pb2
from libs.client.output import as_dict, console, print_json, print_table
from libs.client.rest import pages
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer()

_DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")]
Limit = Annotated[int, typer.Option(min=1, help="Stop after so many.")]


@app.command()
@refusals_exit
def search(
    context: typer.Context,
    name: Name,
    text: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="Held by a text of the image; case, width and runs of spaces do not matter.")
    ] = "",
    character: Annotated[str, typer.Option(help="Exactly this code point.")] = "",
    label_state: Annotated[str, typer.Option(help="UNLABELED, LABELED, SUBMITTED or RETURNED.")] = "",
    finding: Annotated[str, typer.Option(help="Code of a finding, as `get --findings` shows them.")] = "",
    folder: Annotated[str, typer.Option(help="Only below this folder of the dataset.")] = "",
    min_boxes: Annotated[int, typer.Option(min=0, help="At least so many boxes.")] = 0,
    max_boxes: Annotated[int | None, typer.Option(min=0, help="At most so many boxes.")] = None,
    changed_since: Annotated[datetime | None, typer.Option(help="Changed at or after this moment (UTC).")] = None,
    limit: Limit = 100,
    as_json: JsonOption = False,
) -> None:
    """Find images by their labels, and by what is known of them."""
    client = inkwright(context)
    states = dataset_pb2.Image.LabelState
    if label_state.upper() not in ("", *states.keys()):
        raise typer.BadParameter(f"{label_state} is no label state.", param_hint="--label-state")
    request = search_pb2.SearchImagesRequest(
        parent=client.full_name("datasets", name),
        page_size=min(limit, 1000),
        text=text,
        character=character,
        label_state=states.Value(label_state.upper()) if label_state else states.LABEL_STATE_UNSPECIFIED,
        finding=finding.upper(),
        folder=folder,
        min_boxes=min_boxes,
        max_boxes=max_boxes,
    )
    if changed_since is not None:
        request.changed_since.FromDatetime(changed_since.replace(tzinfo=UTC))
    hits: list[search_pb2.SearchHit] = []
    for answer in pages(client.rest, _DATASETS, "SearchImages", request, search_pb2.SearchImagesResponse):
        hits += answer.hits
        if len(hits) >= limit:
            break
    if as_json:
        print_json({"hits": [as_dict(hit) for hit in hits[:limit]]})
        return
    print_table(
        ("IMAGE", "LABELS", "BOXES", "FOUND"),
        [
            (hit.image.key, states.Name(hit.image.label_state), hit.image.num_boxes, " | ".join(box.text for box in hit.boxes))
            for hit in hits[:limit]
        ],
        empty="no image fits",
    )


@app.command()
@refusals_exit
def grep(
    context: typer.Context,
    name: Name,
    regex: Annotated[str, typer.Argument(metavar="REGEX", help="RE2 syntax; `(?i)` at the beginning for any case.")],
    limit: Limit = 1000,
    as_json: JsonOption = False,
) -> None:
    """Find texts that a regular expression fits, one a line as they are found; goes through every labelled image."""
    client = inkwright(context)
    request = search_pb2.GrepLabelsRequest(parent=client.full_name("datasets", name), regex=regex, page_size=min(limit, 1000))
    num_hits = num_images = 0
    until = ""
    for answer in pages(client.rest, _DATASETS, "GrepLabels", request, search_pb2.GrepLabelsResponse):
        num_images += answer.num_images
        until = answer.searched_until
        for hit in answer.hits[: limit - num_hits]:
            if as_json:
                print_json(hit)
            else:
                console.print(f"{hit.key}:{hit.box_id}:{hit.start}:{hit.text}", markup=False, highlight=False, soft_wrap=True)
        num_hits += len(answer.hits)
        if num_hits >= limit:
            typer.echo(f"stopped after {limit} of what was found, at {until}; more with --limit", err=True)
            return
    typer.echo(f"{num_hits} found in {num_images} labelled images", err=True)
