"""`inkctl sign-in`, `sign-out`, `whoami`, `audit`."""

from typing import Annotated

import typer

from inkwright.common.v1 import permission_pb2
from inkwright.gateway.v1 import audit_entry_pb2
from libs.client.commands.user import read_password
from libs.client.credentials import keep_session, kept_session
from libs.client.output import console, print_fields, print_json, print_table
from libs.client.rest import RestClient
from libs.client.session import JsonOption, inkwright, refusals_exit


@refusals_exit
def sign_in(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="Name of the user.")],
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin, without asking.")] = False,
) -> None:
    """Sign in; the commands that follow are this user's."""
    url = context.ensure_object(dict)["url"]
    rest = RestClient(url, "")
    context.call_on_close(rest.close)
    keep_session(url, rest.sign_in(user, read_password("Password", password_stdin)))
    console.print(f"signed in to {url} as {user}")


@refusals_exit
def sign_out(context: typer.Context) -> None:
    """End the session of the last sign-in."""
    url = context.ensure_object(dict)["url"]
    session = kept_session(url)
    if not session:
        console.print(f"not signed in to {url}")
        return
    rest = RestClient(url, session)
    context.call_on_close(rest.close)
    rest.sign_out()
    keep_session(url, "")
    console.print(f"signed out of {url}")


@refusals_exit
def whoami(context: typer.Context, as_json: JsonOption = False) -> None:
    """Who the installation takes one for, and what that may do."""
    caller = inkwright(context).users.caller()
    if as_json:
        print_json(caller)
        return
    permissions = ", ".join(permission_pb2.Permission.Name(one).lower() for one in caller.permissions)
    print_fields([("principal", caller.principal), ("permissions", permissions)])


@refusals_exit
def audit(
    context: typer.Context,
    principal: Annotated[str, typer.Option(help="Only what this one did: `users/ann`, `installation`.")] = "",
    resource: Annotated[str, typer.Option(help="Only what is about this resource, or lies in it: `projects/default/datasets/cards`.")] = "",
    limit: Annotated[int, typer.Option(help="So many lines at most.", min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Who changed what, and who was shown which secret; newest first."""
    entries = inkwright(context).users.audit_entries(principal=principal, resource=resource, limit=limit)
    if as_json:
        print_json(entries)
        return
    rows = [
        (
            entry.time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
            entry.principal + (f" for {entry.on_behalf_of}" if entry.on_behalf_of else ""),
            entry.method.rpartition(".")[2],
            entry.resource,
            "" if entry.outcome == audit_entry_pb2.AuditEntry.DONE else "refused",
        )
        for entry in entries
    ]
    print_table(("TIME (UTC)", "WHO", "DID", "TO", ""), rows)
