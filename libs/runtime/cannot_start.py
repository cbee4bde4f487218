"""Why a process cannot start, when an operator has to put something right first."""

from typing import Final

from pydantic import ValidationError

EXIT_CODE: Final = 78
"""Of such a process (EX_CONFIG of sysexits.h): starting it again helps nobody before something was changed."""


class CannotStart(Exception):
    """A setting, file or folder that is not as it must be; the text names it and says what to do."""


def wrong_settings(error: ValidationError) -> CannotStart:
    """What is wrong with the environment, a line for each variable; values stay hidden."""
    return CannotStart("\n".join(setting_problems(error)))


def setting_problems(error: ValidationError) -> list[str]:
    """A sentence for each wrong setting, beginning with its variable."""
    found = []
    for problem in error.errors(include_input=False, include_url=False):
        said = problem["msg"].removeprefix("Value error, ")
        # A rule over several variables names them itself.
        variable = f"INKWRIGHT_{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
        found.append(f"{variable}{said}")
    return found
