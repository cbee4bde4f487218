"""The installation's own token: made once, kept in its home."""

from pathlib import Path
from typing import Final

from libs.runtime.cannot_start import CannotStart
from libs.runtime.secrets import new_token, write_once

TOKEN_FILE: Final = "admin.token"
MIN_LENGTH: Final = 8


def load_admin_token(home: Path) -> str:
    """The token that is kept, made at the first call.

    Raises:
        CannotStart: the file cannot be read or made, or holds no token. With an empty one everybody could come in.
    """
    file = home / TOKEN_FILE
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = write_once(file, f"{new_token()}\n".encode()).decode(errors="replace").strip()
    except OSError as error:
        raise CannotStart(
            f"{file} cannot be read or made: {error.strerror}. INKWRIGHT_HOME must be a folder that this account may write."
        ) from error
    if not is_token(token):
        raise CannotStart(f"{file} holds no token: it is damaged. Remove it for a new one at the next start, or set INKWRIGHT_TOKEN.")
    return token


def is_token(text: str) -> bool:
    """Whether a text can stand in a header as a token, and is not too short."""
    return len(text) >= MIN_LENGTH and text.isascii() and text.isprintable() and " " not in text
