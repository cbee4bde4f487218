"""`inkctl convert`: labels of one format into another, without any server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libs.client.output import Exit, console, counted, errors, fail, print_json, print_table
from libs.client.session import JsonOption, refusals_exit

if TYPE_CHECKING:
    from libs.ocrkit.labels.page import Row

_MAX_TOLD = 100
_TURNS = (0, 90, 270)


@refusals_exit
def convert(
    from_folder: Annotated[Path, typer.Argument(metavar="FROM", help="Folder of label files and images.")],
    to_folder: Annotated[Path, typer.Argument(metavar="TO", help="Folder to write; not there yet, or empty.")],
    to_format: Annotated[str, typer.Option(help="voc, ppocrlabel, icdar2015 …; docs/formats.md lists them.")],
    from_format: Annotated[str, typer.Option(help="Default: what the files look like.")] = "",
    images: Annotated[bool, typer.Option("--images/--no-images", help="Copy the images too.")] = True,
    nfc: Annotated[bool, typer.Option("--nfc", help="Bring texts into Unicode NFC; the original is kept as an attribute.")] = False,
    one_based: Annotated[bool, typer.Option("--one-based", help="VOC: pixels are counted from 1.")] = False,
    names_are_classes: Annotated[bool, typer.Option("--names-are-classes", help="VOC: <name> is a class, never the text.")] = False,
    turned: Annotated[
        int, typer.Option(help="VOC: where <size> has the sides swapped, the image was turned clockwise by 90 or 270 degrees.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Convert labels between formats and tell what the target has no field for."""
    # Imported here: the kernel takes a second to load, which the other commands need not wait for.
    from libs.ocrkit.labels.convert import convert_labels
    from libs.ocrkit.labels.formats.all_formats import format_of
    from libs.ocrkit.labels.page import ReadOptions
    from libs.ocrkit.labels.reading import guess_format
    from libs.ocrkit.labels.source import FolderSource
    from libs.ocrkit.labels.target import new_folder

    if not from_folder.is_dir():
        fail(f"{from_folder} is no folder", Exit.USAGE)
    if to_folder.resolve().is_relative_to(from_folder.resolve()):
        fail(f"{to_folder} lies in {from_folder}, whose labels are read meanwhile; name a folder beside it", Exit.USAGE)
    if turned not in _TURNS:
        fail("--turned is 90 or 270", Exit.USAGE)
    target_format = format_of(to_format)
    source = FolderSource(from_folder)
    source_format = format_of(from_format) if from_format else guess_format(source)
    options = ReadOptions(
        nfc=nfc, one_based=one_based, names_are_classes=names_are_classes, turned=90 if turned == 90 else 270 if turned else 0
    )
    rows: list[dict[str, object]] = []
    num_told = 0

    def tell(row: "Row") -> None:
        nonlocal num_told
        if as_json:
            rows.append(_as_dict(row))
            return
        for finding in row.findings:
            num_told += 1
            if num_told <= _MAX_TOLD:
                errors.print(f"{row.name}: {finding.severity}: {finding.message}", markup=False, soft_wrap=True)

    with new_folder(to_folder) as target:
        done = convert_labels(source, source_format, target, target_format, options=options, copy_images=images, on_row=tell)
        if not done.outcomes:
            fail(f"{from_folder} holds neither labels of the format {source_format.key} nor images.")
    losses = {loss.name: {"what": loss.value, "count": count} for loss, count in sorted(done.losses.items())}
    if as_json:
        summary = {"fromFormat": source_format.key, "toFormat": target_format.key, "outcomes": done.outcomes, "boxes": done.num_boxes}
        print_json({**summary, "losses": losses, "rows": rows})
    else:
        if num_told > _MAX_TOLD:
            errors.print(f"… and {num_told - _MAX_TOLD:,} more; --json lists them all")
        outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(done.outcomes.items()))
        console.print(
            f"{source_format.key} to {target_format.key}: {outcomes}; {counted(done.num_boxes, 'box', 'boxes')} written", markup=False
        )
        if losses:
            console.print(f"\n{target_format.key} has no field for:")
            print_table(("LOST", "COUNT"), [(loss["what"], loss["count"]) for loss in losses.values()])
        else:
            console.print("nothing was lost")
    if done.outcomes["failed"]:
        raise SystemExit(int(Exit.ENDED_OTHERWISE))


def _as_dict(row: "Row") -> dict[str, object]:
    findings = [{"severity": one.severity, "code": one.code, "message": one.message, "line": one.line} for one in row.findings]
    return {"name": row.name, "labelFile": row.label_name, "outcome": row.outcome, "findings": findings}
