"""What every command needs: the client, built from the options before the command, and one place that turns refusals into exits."""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

import typer

from libs.client.credentials import base_url, found_token
from libs.client.inkwright import Inkwright
from libs.client.output import Exit, fail
from libs.client.rest import ApiError, RestClient, Unreachable
from libs.runtime.errors import Fault

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def inkwright(context: typer.Context) -> Inkwright:
    """The installation that the options before the command name."""
    options = context.ensure_object(dict)
    token = options["token"] or found_token(options["url"])
    if not token:
        hint = "`inkctl sign-in NAME`, or set INKWRIGHT_TOKEN, or INKWRIGHT_HOME to the installation's folder"
        fail(f"no token for {base_url(options['url'])}: {hint}.", Exit.USAGE)
    client = Inkwright(RestClient(options["url"], token), project=options["project"])
    context.call_on_close(client.rest.close)
    return client


def refusals_exit(command: Callable[P, ResultT]) -> Callable[P, ResultT]:
    """Let a command end with one line on stderr and an exit code where the server, or the kernel, refuses."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResultT:
        try:
            return command(*args, **kwargs)
        except ApiError as error:
            fail(str(error), reason=error.reason)
        except Fault as fault:
            fail(fault.message, reason=fault.reason)
        except Unreachable as error:
            fail(str(error), Exit.UNREACHABLE)
        except OSError as error:
            fail(f"{error.filename or 'file'}: {error.strerror or error}")

    return guarded
