"""`inkctl read`: read a folder without any server."""

from pathlib import Path
from typing import Annotated

import typer

from libs.client.session import refusals_exit


@refusals_exit
def read(
    bundle: Annotated[str, typer.Option(help="A bundle file, or `base` for the default base model.")],
    images: Annotated[Path, typer.Option(help="Folder of JPG, PNG and BMP images.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
) -> None:
    """Read every image of a folder, without a server."""
