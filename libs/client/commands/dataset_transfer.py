"""`inkctl dataset import-labels` and `inkctl dataset export`."""

import csv
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from inkwright.dataset.v1 import transfer_pb2
from libs.client.inkwright import Inkwright
from libs.client.output import Exit, as_dict, console, counted, errors, fail, print_json, print_table, progress_bar, short
from libs.client.session import JsonOption, inkwright, refusals_exit
from libs.client.transfers import export_labels, get_label_import, import_stored_labels, label_import_rows, upload_labels

State, Outcome = transfer_pb2.LabelImport.State, transfer_pb2.LabelImportRow.Outcome
_MAX_TOLD = 100
_REPORT = "export-report.csv"

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")]


@refusals_exit
def import_labels(
    context: typer.Context,
    name: Name,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Label files, ZIPs of them, or folders of them; or give --prefix.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Import label files that lie in the dataset's own folder: the beginning of their keys.")] = "",
    label_format: Annotated[str, typer.Option("--format", help="voc, ppocrlabel, icdar2015 …; default: what the files look like.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace labels that are there; replaced files are kept.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring labels of any format into a dataset: matched to its images and written beside them as VOC XML."""
    if bool(files) == bool(prefix):
        fail("Give label files, or --prefix.", Exit.USAGE)
    client = inkwright(context)
    is_whole = True
    sources: list[Path | None] = [*files] if files else [None]
    for file in sources:
        if file is None:
            started = import_stored_labels(client, name, prefix, label_format=label_format, overwrite=overwrite, dry_run=dry_run)
        else:
            started = upload_labels(client, name, file, label_format=label_format, overwrite=overwrite, dry_run=dry_run)
        is_whole &= _show(client, _follow(client, started), as_json)
    if not is_whole:
        raise SystemExit(int(Exit.ENDED_OTHERWISE))


@refusals_exit
def export(
    context: typer.Context,
    name: Name,
    label_format: Annotated[str, typer.Option("--format", help="voc, ppocrlabel, icdar2015 …; docs/formats.md lists them.")],
    out: Annotated[Path, typer.Option("--out", help="FILE.zip, or a folder that is not there yet or empty.")],
    version: Annotated[str, typer.Option(help="A version; without it, what lies beside the images now.")] = "",
    with_images: Annotated[bool, typer.Option("--with-images", help="Images come along.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the labels of a dataset in any format, and tell what it has no field for."""
    client = inkwright(context)
    if out.suffix.lower() == ".zip":
        if out.exists():
            fail(f"{out} is there already; name another file")
        export_labels(client, name, out, label_format=label_format, version=version, with_images=with_images)
        report = _report_of(out)
    else:
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            fail(f"{out} is there already; name a folder that is not, or an empty one")
        with tempfile.TemporaryDirectory(prefix="inkctl-", dir=out.absolute().parent) as folder:
            packed, made = Path(folder) / "labels.zip", Path(folder) / "made"
            export_labels(client, name, packed, label_format=label_format, version=version, with_images=with_images)
            report = _report_of(packed)
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(made, [entry for entry in archive.namelist() if entry != _REPORT])
            made.mkdir(exist_ok=True)
            made.replace(out)
    _show_export(report, out, label_format, as_json)
    if report["num_failed"]:
        raise SystemExit(int(Exit.ENDED_OTHERWISE))


def _follow(client: Inkwright, started: transfer_pb2.LabelImport) -> transfer_pb2.LabelImport:
    def ended(one: transfer_pb2.LabelImport) -> bool:
        return one.state not in (State.UPLOADING, State.RUNNING)

    with progress_bar(known=False) as bar:
        line = bar.add_task(f"importing {started.file_name or started.prefix}", total=None)
        for one in client.watch(lambda: get_label_import(client, started.name), until=ended):
            bar.update(line, completed=one.counts.num_rows)
    return one


def _show(client: Inkwright, one: transfer_pb2.LabelImport, as_json: bool) -> bool:
    """Print what became of an import. Returns whether all was taken over."""
    counts = one.counts
    is_whole = one.state == State.SUCCEEDED and not (counts.num_skipped or counts.num_failed or counts.num_image_missing)
    if as_json:
        print_json({**as_dict(one), "rows": [as_dict(row) for row in label_import_rows(client, one.name)]})
        return is_whole
    _tell(client, one)
    if one.state != State.SUCCEEDED:
        errors.print(f"the import {State.Name(one.state).lower()}: {one.error_message}", markup=False, soft_wrap=True)
    numbers = {
        "imported": counts.num_imported,
        "repaired": counts.num_repaired,
        "skipped": counts.num_skipped,
        "failed": counts.num_failed,
        "without image": counts.num_image_missing,
    }
    told = ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number) or "no labels found"
    boxes = counted(counts.num_boxes, "box", "boxes")
    would = " (nothing was written: --dry-run)" if one.dry_run else ""
    console.print(f"{one.file_name or one.prefix} as {one.format or '?'}: {told}; {boxes}{would}", markup=False, soft_wrap=True)
    return is_whole


def _tell(client: Inkwright, one: transfer_pb2.LabelImport) -> None:
    """Rows of which a person should know, the first hundred findings."""
    num_told = 0
    for row in label_import_rows(client, one.name):
        for finding in row.findings:
            if num_told == _MAX_TOLD:
                errors.print(f"… and more; --json lists them all ({short(one.name)})", markup=False)
                return
            num_told += 1
            outcome = Outcome.Name(row.outcome).lower().replace("_", " ")
            errors.print(f"{row.key}: {outcome}: {finding.message}", markup=False, soft_wrap=True)


def _report_of(packed: Path) -> dict[str, int]:
    with zipfile.ZipFile(packed) as archive:
        rows = csv.reader(io.StringIO(archive.read(_REPORT).decode()))
        next(rows)
        return {what: int(count) for what, count in rows}


def _show_export(report: dict[str, int], out: Path, label_format: str, as_json: bool) -> None:
    losses = [(what.removeprefix("lost: "), count) for what, count in report.items() if what.startswith("lost: ")]
    failures = [what.removeprefix("failed: ") for what in report if what.startswith("failed: ")]
    if as_json:
        counts = {what: count for what, count in report.items() if ": " not in what}
        print_json({**counts, "losses": [{"what": what, "count": count} for what, count in losses], "failures": failures})
        return
    for failure in failures:
        errors.print(failure, markup=False, soft_wrap=True)
    pages, boxes = counted(report["num_pages"], "page"), counted(report["num_boxes"], "box", "boxes")
    console.print(
        f"{out}: {pages}, {boxes} as {label_format}; {report['num_unlabeled']:,} images without labels, {report['num_failed']:,} failed",
        markup=False,
        soft_wrap=True,
    )
    if losses:
        console.print(f"\n{label_format} has no field for:")
        print_table(("LOST", "COUNT"), losses)
    else:
        console.print("nothing was lost")
