"""`inkctl dataset picture` and `cache`: images as people see them."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from inkwright.dataset.v1 import dataset_service_pb2, picture_pb2
from libs.client.output import print_fields, print_json, short
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer()

_DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]
_MIB = 1024 * 1024


@app.command()
@refusals_exit
def picture(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")],
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Id, path below the dataset's folder, or file name of the image.")],
    into: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    size: Annotated[int, typer.Option(help="Longer side of a thumbnail in pixels, at most 1024; 0 for the image as it is stored.")] = 256,
) -> None:
    """Save an upright thumbnail of an image, or the image itself."""
    client = inkwright(context)
    found = client.find_image(name, image)
    path = f"/v1/{quote(found.name)}"
    size_bytes = client.save(f"{path}/thumbnail?size={size}" if size else f"{path}:bytes", into)
    print_fields([("image", found.key), ("file", str(into)), ("bytes", size_bytes)])


@app.command()
@refusals_exit
def cache(
    context: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")], as_json: JsonOption = False
) -> None:
    """Show what thumbnails and tiles of a dataset take up on the server's disk."""
    client = inkwright(context)
    request = picture_pb2.GetPictureCacheRequest(name=client.full_name("datasets", name))
    found = client.rest.call(_DATASETS, "GetPictureCache", request, picture_pb2.PictureCache)
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("name", short(found.name)),
            ("images with pictures", found.num_images),
            ("MiB", f"{found.size_bytes / _MIB:.1f}"),
            ("MiB of all datasets", f"{found.total_size_bytes / _MIB:.1f}"),
            ("  at most", f"{found.max_size_bytes / _MIB:.1f}"),
        ]
    )
