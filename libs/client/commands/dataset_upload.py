"""`inkctl dataset upload`, `uploads` and `demo`: images into a dataset's folder."""

import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from inkwright.dataset.v1 import upload_pb2
from libs.client.commands.dataset import Name, Wait
from libs.client.inkwright import POLL_SECONDS, Inkwright
from libs.client.output import Exit, as_dict, console, counted, fail, moment, print_json, print_table, progress_bar, short
from libs.client.packing import found, parcels, write_pack
from libs.client.session import JsonOption, inkwright, refusals_exit
from libs.client.uploads import DATASETS, Uploads

State = upload_pb2.Upload.State
Result = upload_pb2.UploadRow.Result
ENDED = (State.DONE, State.FAILED)


@refusals_exit
def upload(
    context: typer.Context,
    name: Name,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER|ZIP...", help="Images, label files beside them, ZIPs of both.")],
    into: Annotated[str, typer.Option(help="Folder below the dataset's own.")] = "",
    rename: Annotated[bool, typer.Option("--rename", help="Number a name that another image has, in place of a refusal.")] = False,
    split_pages: Annotated[bool, typer.Option("--split-pages", help="Make a PNG of each page of a PDF or TIFF.")] = False,
    convert: Annotated[bool, typer.Option("--convert", help="Make a PNG of a still WebP or GIF.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send images into a dataset's folder. Nothing there is replaced; a call that was cut off goes on when it is repeated."""
    client = inkwright(context)
    uploads = Uploads(client.rest, client.full_name("datasets", name))
    options = upload_pb2.Upload(rename=rename, split_pages=split_pages, convert=convert)
    files = found(paths)
    if not files:
        fail("There is no file in what was named.")
    names = []
    total = sum(file.stat().st_size for file, _ in files)
    with tempfile.TemporaryDirectory(prefix="inkctl-") as folder, progress_bar() as bar:
        line = bar.add_task(f"sending {counted(len(files), 'file')}", total=total)
        before = 0
        for number, parcel in enumerate(parcels(files), 1):
            file, path = parcel.files[0]
            below = into
            if parcel.is_packed:
                file = Path(folder) / f"files-{number}.zip"
                write_pack(parcel, file)
            elif "/" in path:
                below = str(PurePosixPath(into) / PurePosixPath(path).parent)
            begun = before

            def sent(num_bytes: int, begun: int = begun) -> None:
                bar.update(line, completed=begun + num_bytes)

            names.append(uploads.send(file, folder=below, options=options, sent=sent).name)
            before += sum(one.stat().st_size for one, _ in parcel.files)
            if parcel.is_packed:
                file.unlink()
    ended = [_follow(uploads, one) for one in names]
    _show(uploads, ended, as_json)


@refusals_exit
def uploads(
    context: typer.Context,
    name: Name,
    delete: Annotated[str, typer.Option(metavar="ID", help="End and forget one; what it stored stays.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List what was, or is being, sent into a dataset's folder."""
    client = inkwright(context)
    dataset = client.full_name("datasets", name)
    calls = Uploads(client.rest, dataset)
    if delete:
        calls.delete(f"{dataset}/uploads/{short(delete)}")
        return
    found_uploads = calls.list_all()
    if as_json:
        print_json(found_uploads)
        return
    print_table(
        ("ID", "FILE", "STATE", "BYTES", "OF", "STORED", "THERE", "SKIPPED", "FAILED", "BEGUN", "ERROR"),
        [
            (
                short(row.name),
                row.file_name or "demo data",
                State.Name(row.state),
                row.received_bytes,
                row.size_bytes,
                row.counts.num_stored,
                row.counts.num_already_there,
                row.counts.num_skipped,
                row.counts.num_failed,
                moment(row.create_time),
                row.error_message,
            )
            for row in found_uploads
        ],
    )


@refusals_exit
def demo(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Of the new dataset.")] = "demo",
    images: Annotated[int, typer.Option(help="How many photographs, at most 500.")] = 40,
    wait: Wait = True,
    as_json: JsonOption = False,
) -> None:
    """Make a dataset of generated photographs of cards and forms, with their labels."""
    client = inkwright(context)
    made = create_demo(client, name, num_images=images)
    calls = Uploads(client.rest, client.full_name("datasets", name))
    _show(calls, [_follow(calls, made.name) if wait else made], as_json)


def create_demo(client: Inkwright, dataset_id: str, *, num_images: int) -> upload_pb2.Upload:
    """CreateDemoDataset."""
    request = upload_pb2.CreateDemoDatasetRequest(parent=client.project, dataset_id=dataset_id, num_images=num_images)
    return client.rest.call(DATASETS, "CreateDemoDataset", request, upload_pb2.Upload)


def _follow(uploads: Uploads, name: str) -> upload_pb2.Upload:
    with progress_bar() as bar:
        line = bar.add_task("storing", total=None)
        while (seen := uploads.get(name)).state not in ENDED:
            bar.update(
                line, completed=seen.counts.num_done, total=seen.counts.num_total or None, description=seen.error_message or "storing"
            )
            time.sleep(POLL_SECONDS)
    return seen


def _show(uploads: Uploads, ended: list[upload_pb2.Upload], as_json: bool) -> None:
    """Print what was not taken, and the sums; end with a code where something failed."""
    if as_json:
        print_json([as_dict(one) | {"rows": [as_dict(row) for row in uploads.rows(one.name)]} for one in ended])
    else:
        rows = [row for one in ended for row in uploads.rows(one.name) if row.result in (Result.SKIPPED, Result.FAILED)]
        if rows:
            print_table(("FILE", "RESULT", "REASON", "WHAT TO DO"), [(r.source, Result.Name(r.result), r.reason, r.message) for r in rows])
        sums = {kind: sum(getattr(one.counts, f"num_{kind}") for one in ended) for kind in ("stored", "already_there", "skipped", "failed")}
        console.print(", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sums.items()))
    for one in ended:
        if one.state == State.FAILED:
            fail(f"{one.file_name}: {one.error_message}", Exit.ENDED_OTHERWISE)
    if any(one.counts.num_failed for one in ended):
        raise typer.Exit(int(Exit.ENDED_OTHERWISE))
