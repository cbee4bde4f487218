"""`inkctl`: the command line over the management REST API."""

from typing import Annotated

import typer

from libs.client.commands import (
    access,
    dataset,
    dataset_health,
    dataset_pictures,
    dataset_search,
    dataset_transfer,
    dataset_trash,
    dataset_upload,
    dataset_version,
    deploy,
    events,
    label,
    model,
    task,
    token,
    user,
)
from libs.client.commands.backup import backup, restore
from libs.client.commands.convert import convert
from libs.client.commands.predict import predict
from libs.client.commands.read import read
from libs.client.commands.status import doctor, status

app = typer.Typer(
    name="inkctl",
    help="Teach a reader your documents: dataset, labels, training task, deployment, answer.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage, 3 nothing answers at the address, "
    "4 what was followed did not succeed, or something is not well.",
)
# In the order in which they are needed.
dataset.app.command()(dataset_upload.upload)
dataset.app.command()(dataset_upload.uploads)
dataset.app.command()(dataset_upload.demo)
dataset.app.command("import-labels")(dataset_transfer.import_labels)
dataset.app.command()(dataset_transfer.export)
dataset.app.command()(dataset_health.report)
dataset.app.command()(dataset_health.normalize)
for group in (dataset_search.app, dataset_pictures.app, dataset_version.app, dataset_trash.app):
    dataset.app.add_typer(group)
app.add_typer(dataset.app, name="dataset")
app.add_typer(label.app, name="label")
app.add_typer(task.app, name="task")
app.add_typer(model.app, name="model")
app.add_typer(deploy.app, name="deploy")
app.add_typer(user.app, name="user")
app.add_typer(token.app, name="token")
app.add_typer(events.app, name="events")
app.command()(predict)
app.command()(read)
app.command()(convert)
app.command()(backup)
app.command()(restore)
for command in (access.sign_in, access.sign_out, access.whoami, access.audit):
    app.command()(command)
app.command()(status)
app.command()(doctor)


@app.callback()
def connection(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="INKWRIGHT_URL", help="Address of the installation.")] = "http://127.0.0.1:8080",
    secret: Annotated[
        str,
        typer.Option(
            "--token", envvar="INKWRIGHT_TOKEN", help="A token; default: the session of `sign-in`, or the installation's on this machine."
        ),
    ] = "",
    project: Annotated[str, typer.Option(envvar="INKWRIGHT_PROJECT", help="Project all short names are in.")] = "default",
) -> None:
    """Options before the command say which installation and project are meant."""
    context.obj = {"url": url, "token": secret, "project": project}


def main() -> None:
    """Entry point of the script `inkctl`."""
    app()
