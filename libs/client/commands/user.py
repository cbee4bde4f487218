"""`inkctl user`: who may call the installation."""

from typing import Annotated

import typer

from inkwright.gateway.v1 import user_pb2
from libs.client.output import Exit, console, fail, moment, print_json, print_table, short
from libs.client.roles import Role
from libs.client.session import JsonOption, inkwright, refusals_exit
from libs.client.users import full_name

app = typer.Typer(help="Who may call the installation, and as what.", no_args_is_help=True)

User = user_pb2.User
MIN_PASSWORD = 10
"""Asked for here as well: a person whose password is refused should not be made."""

Name = Annotated[str, typer.Argument(metavar="USER", help="Name of the user.")]
RoleOption = Annotated[Role, typer.Option("--role", help="What the user may do.")]


@app.command("list")
@refusals_exit
def list_all(context: typer.Context, as_json: JsonOption = False) -> None:
    """List users, by name."""
    users = inkwright(context).users.list_users()
    if as_json:
        print_json(users)
        return
    rows = [
        (
            short(user.name),
            user.display_name,
            User.Kind.Name(user.kind),
            user_pb2.Role.Name(user.role),
            "disabled" if user.disabled else "",
            moment(user.sign_in_time),
        )
        for user in users
    ]
    print_table(("NAME", "WHO", "KIND", "ROLE", "", "SIGNED IN (UTC)"), rows)


@app.command()
@refusals_exit
def create(
    context: typer.Context,
    name: Name,
    role: RoleOption,
    display_name: Annotated[str, typer.Option("--display-name", help="For people.")] = "",
    service_account: Annotated[bool, typer.Option("--service-account", help="A program: it gets tokens, no password.")] = False,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin, without asking.")] = False,
) -> None:
    """Make a user; asks for a person's password."""
    client = inkwright(context)
    password = "" if service_account else read_password("Password", password_stdin, confirm=True)
    if password and len(password) < MIN_PASSWORD:
        fail(f"a password has at least {MIN_PASSWORD} characters", Exit.USAGE)
    client.users.create(name, role.proto, display_name=display_name, service_account=service_account)
    if password:
        client.users.set_password(name, password)
    console.print(f"{name} is a {role.value} now" + (f"; `inkctl token create --user {name}` makes a token" if service_account else ""))


@app.command()
@refusals_exit
def update(
    context: typer.Context,
    name: Name,
    role: Annotated[Role | None, typer.Option("--role", help="What the user may do.")] = None,
    display_name: Annotated[str | None, typer.Option("--display-name", help="For people.")] = None,
    disabled: Annotated[bool | None, typer.Option("--disable/--enable", help="Whether nobody gets in as this user.")] = None,
) -> None:
    """Change a user; holds from the user's next call on."""
    user, fields = User(name=full_name(name)), []
    if role is not None:
        user.role = role.proto
        fields.append("role")
    if display_name is not None:
        user.display_name = display_name
        fields.append("display_name")
    if disabled is not None:
        user.disabled = disabled
        fields.append("disabled")
    if not fields:
        fail("say what to change: --role, --display-name, --disable or --enable", Exit.USAGE)
    inkwright(context).users.update(user, fields)
    console.print(f"changed {name}")


@app.command()
@refusals_exit
def password(
    context: typer.Context,
    name: Name,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the new password from stdin, without asking.")] = False,
) -> None:
    """Give a user a new password; ends the user's sessions. One's own needs the old one."""
    client = inkwright(context)
    own = client.users.caller().principal == full_name(name)
    old = typer.prompt("Old password", hide_input=True) if own else ""
    client.users.set_password(name, read_password("New password", password_stdin, confirm=True), old_password=old)
    console.print(f"{name} has a new password")


@app.command()
@refusals_exit
def delete(context: typer.Context, name: Name) -> None:
    """Delete a user with its tokens and sessions."""
    inkwright(context).users.delete(name)
    console.print(f"deleted {name}")


def read_password(prompt: str, from_stdin: bool, *, confirm: bool = False) -> str:
    """A password, typed unseen or from a pipe."""
    if from_stdin:
        return typer.get_text_stream("stdin").readline().rstrip("\n")
    return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm))
