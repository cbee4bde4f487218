"""`inkctl events`: the bus, for operators."""

from typing import Annotated

import typer

from inkwright.gateway.v1 import dead_letter_pb2
from libs.client.output import Exit, console, counted, fail, print_json, print_table, short
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer(help="The bus, for operators.", no_args_is_help=True)
dead = typer.Typer(help="Messages that their consumers gave up on.", no_args_is_help=True)
app.add_typer(dead, name="dead")

Durable = Annotated[str, typer.Option(help="Only those of this consumer.")]


@dead.command("list")
@refusals_exit
def list_all(context: typer.Context, durable: Durable = "", as_json: JsonOption = False) -> None:
    """List dead letters, oldest first."""
    letters = inkwright(context).list_dead_letters(durable=durable)
    if as_json:
        print_json(letters)
        return
    rows = [
        (
            short(letter.name),
            letter.bury_time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
            letter.durable,
            short(letter.type.replace(".", "/")),
            dead_letter_pb2.DeadLetter.Cause.Name(letter.cause),
            letter.num_tries,
            letter.error,
        )
        for letter in letters
    ]
    print_table(("LETTER", "SINCE (UTC)", "CONSUMER", "MESSAGE", "CAUSE", "TRIES", "ERROR"), rows)


@dead.command()
@refusals_exit
def replay(
    context: typer.Context,
    letters: Annotated[list[str] | None, typer.Argument(metavar="LETTER…", help="Numbers from `dead list`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All there are now.")] = False,
    durable: Durable = "",
) -> None:
    """Hand messages back to the consumers that gave them up, once what stopped them is repaired."""
    client = inkwright(context)
    if bool(letters) == every:
        fail("give the letters' numbers, or --all", Exit.USAGE)
    names = letters or [letter.name for letter in client.list_dead_letters(durable=durable)]
    for name in names:
        client.replay_dead_letter(name)
    console.print(f"replayed {counted(len(names), 'message')}")
