"""`inkctl dataset delete`, `trash`, `restore` and `purge`: datasets that are not wanted any more, or again."""

import typer

from libs.client.commands.dataset import Name, show
from libs.client.output import console, moment, print_json, print_table, short
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer()


@app.command()
@refusals_exit
def delete(context: typer.Context, name: Name) -> None:
    """Move a dataset to the trash. Images and label files stay where they are."""
    client = inkwright(context)
    client.trash.delete(client.full_name("datasets", name))
    until = [row.purge_time for row in client.trash.list_all() if row.name == client.full_name("datasets", name)]
    if until:
        console.print(f"{short(name)} is in the trash until {moment(until[0])}: inkctl dataset restore {short(name)}")


@app.command("trash")
@refusals_exit
def list_trash(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the datasets in the trash."""
    datasets = inkwright(context).trash.list_all()
    if as_json:
        print_json(datasets)
        return
    columns = ("NAME", "DELETED", "KEPT UNTIL", "IMAGES", "LABELED", "PATH")
    print_table(
        columns,
        [
            (
                short(row.name),
                moment(row.trash_time),
                moment(row.purge_time),
                row.counts.num_images,
                row.counts.num_labeled,
                row.path,
            )
            for row in datasets
        ],
    )


@app.command()
@refusals_exit
def restore(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """Take a dataset out of the trash, with its versions, pages and drafts; a sync brings it up to date."""
    client = inkwright(context)
    show(client.trash.restore(client.full_name("datasets", name)), as_json)


@app.command()
@refusals_exit
def purge(context: typer.Context, name: Name) -> None:
    """Forget a dataset in the trash for good, with its versions. Images and label files stay where they are."""
    client = inkwright(context)
    client.trash.purge(client.full_name("datasets", name))
