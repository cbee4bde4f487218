"""`inkctl predict`: read images through a deployment's public API."""

from pathlib import Path
from typing import Annotated, Any

import typer

from libs.client.output import console, errors, print_json, print_table
from libs.client.session import JsonOption, inkwright, refusals_exit


@refusals_exit
def predict(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the deployment.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", exists=True, dir_okay=False, help="JPG, PNG or BMP files.")],
    deployment_token: Annotated[str, typer.Option("--deployment-token", help="Token of the deployment; default: it is revealed.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Read images through the public API of a deployment."""
    client = inkwright(context)
    token = deployment_token or client.reveal_token(name)
    answers = {str(image): client.rest.predict(name, image.read_bytes(), token=token, name=image.name) for image in images}
    if as_json:
        print_json(answers if len(answers) > 1 else next(iter(answers.values())))
    else:
        for image, answer in answers.items():
            show(image, answer)
    if not all(answer.get("success") for answer in answers.values()):
        raise typer.Exit(1)


def show(image: str, answer: dict[str, Any]) -> None:
    """Print what one image says."""
    if not answer.get("success"):
        said = f"{answer.get('errorCode')} {answer.get('errorMsg')}: {answer.get('errorDetail', '')}"
        errors.print(f"{image}: {said}", markup=False, soft_wrap=True)
        return
    console.print(image, markup=False)
    print_table(("TEXT", "CONFIDENCE"), [(line["label"], f"{line['conf']:.3f}") for line in answer["result"]["output"]])
