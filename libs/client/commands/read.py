"""`inkctl read`: read a folder without any server."""

import os
from pathlib import Path
from typing import Annotated

import orjson
import typer

from libs.client.output import Exit, console, counted, errors, fail, progress_bar
from libs.client.session import refusals_exit


@refusals_exit
def read(
    bundle: Annotated[str, typer.Option(help="A bundle file, `base` for the default base model, or a base model's name.")],
    images: Annotated[Path, typer.Option(help="Folder of JPG, PNG and BMP images.")],
    out: Annotated[Path, typer.Option(help='JSON file to write: {stem: [{"label", "conf", "pos": [[x, y] * 4]}]} in pixels.')],
    characters: Annotated[bool, typer.Option("--characters", help="Each line with its characters, their confidence and place.")] = False,
    threads: Annotated[int, typer.Option(help="Cores to use; 0 takes all.", min=0)] = 0,
) -> None:
    """Read every image of a folder, without a server."""
    # Imported here: the kernel takes a second to load, which the other commands need not wait for.
    from libs.ocrkit.reading import open_named_bundle, read_folder

    if not out.parent.is_dir():
        fail(f"{out.parent} is no folder", Exit.USAGE)
    if out.is_dir():
        fail(f"{out} is a folder; name a file in it", Exit.USAGE)
    with progress_bar() as bar:
        line = bar.add_task("reading", total=None)
        reading = read_folder(
            open_named_bundle(bundle),
            images,
            num_threads=threads or os.cpu_count() or 1,
            characters=characters,
            on_page=lambda path, done, total: bar.update(line, description=path.name, completed=done, total=total),
        )
    out.write_bytes(orjson.dumps(reading.pages))
    for image in reading.unread:
        errors.print(f"{image.path.name}: {image.message}", markup=False, soft_wrap=True)
    num_lines = sum(len(lines) for lines in reading.pages.values())
    console.print(
        f"{counted(len(reading.pages), 'image')}, {counted(num_lines, 'line')}, {len(reading.unread):,} could not be read", markup=False
    )
    if reading.unread:
        raise SystemExit(int(Exit.ENDED_OTHERWISE))
