"""`inkctl token`: secrets that stand for a user."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from inkwright.common.v1 import permission_pb2
from libs.client.inkwright import Inkwright
from libs.client.output import Exit, console, errors, fail, moment, print_json, print_table, short
from libs.client.roles import Scope
from libs.client.session import JsonOption, inkwright, refusals_exit
from libs.client.users import full_name

app = typer.Typer(help="Secrets that stand for a user.", no_args_is_help=True)

UserOption = Annotated[str, typer.Option("--user", help="Whose; default: one's own.")]
_LIFE = re.compile(r"(\d+)([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


@app.command()
@refusals_exit
def create(
    context: typer.Context,
    user: UserOption = "",
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="What it may do; may be given again. Default: all the user may.")
    ] = None,
    life: Annotated[str, typer.Option("--life", help="How long it holds, such as 12h, 30d, 4w. Default: for ever.")] = "",
    description: Annotated[str, typer.Option("--description", help="What it is for.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it: this once, it is not kept."""
    client = inkwright(context)
    made = client.users.create_token(
        owner(client, user),
        description=description,
        scopes=[one.proto for one in scope or ()],
        life=_life(life),
        now=datetime.now(UTC),
    )
    if as_json:
        print_json(made)
        return
    errors.print(f"{made.token.name}, shown this once:", highlight=False)
    sys.stdout.write(made.secret + "\n")


@app.command("list")
@refusals_exit
def list_all(context: typer.Context, user: UserOption = "", as_json: JsonOption = False) -> None:
    """List tokens, newest first."""
    client = inkwright(context)
    tokens = client.users.list_tokens(owner(client, user))
    if as_json:
        print_json(tokens)
        return
    rows = [
        (
            short(token.name),
            token.description,
            ", ".join(permission_pb2.Permission.Name(scope).lower() for scope in token.scopes) or "all",
            moment(token.expire_time) or "never",
            moment(token.use_time) or "never",
        )
        for token in tokens
    ]
    print_table(("TOKEN", "WHAT FOR", "SCOPES", "ENDS (UTC)", "USED (UTC)"), rows)


@app.command()
@refusals_exit
def delete(
    context: typer.Context, token: Annotated[str, typer.Argument(metavar="TOKEN", help="From `token list`.")], user: UserOption = ""
) -> None:
    """Withdraw a token; it is refused from now on."""
    client = inkwright(context)
    client.users.delete_token(f"{full_name(owner(client, user))}/tokens/{short(token)}")
    console.print(f"withdrew {short(token)}")


def owner(client: Inkwright, user: str) -> str:
    """The user meant: the one named, or whoever calls."""
    if user:
        return user
    principal = client.users.caller().principal
    if not principal.startswith("users/"):
        fail("the installation's own token belongs to no user: say whose with --user", Exit.USAGE)
    return principal


def _life(text: str) -> timedelta | None:
    if not text:
        return None
    found = _LIFE.fullmatch(text)
    if found is None:
        fail(f"{text!r} is no length of time such as 12h, 30d or 4w", Exit.USAGE)
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])
