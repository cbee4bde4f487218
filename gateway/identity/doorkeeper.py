"""Who sends an HTTP request: by the installation's token, a user's token, or a session's cookie."""

from http import HTTPMethod
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from gateway.identity import actions
from gateway.identity.domain import INSTALLATION
from gateway.store import Work
from libs.runtime.caller import Caller
from libs.runtime.errors import Forbidden, Unauthenticated
from libs.runtime.secrets import same

COOKIE: Final = "inkwright_session"
_LOOKING: Final = {HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS}


def token_in(header: str | None) -> str:
    """The token of an ``Authorization`` header: as it is, or after ``Bearer``; ``""`` without one."""
    given = (header or "").strip()
    scheme, _, rest = given.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else given


class Doorkeeper:
    """Knows callers of the management API.

    Args:
        work: units of work of the gateway.
        admin_token: the installation's own.
    """

    def __init__(self, work: Work, admin_token: str) -> None:
        self._work = work
        self._admin_token = admin_token

    async def caller(self, request: Request) -> Caller:
        """Who sends a request.

        Raises:
            Unauthenticated: a stranger.
            Forbidden: a page of another site sends it with the user's cookie.
        """
        if given := token_in(request.headers.get("authorization")):
            return await self._of_token(given)
        if session := request.cookies.get(COOKIE):
            if request.method not in _LOOKING:
                check_same_site(request)
            return await actions.caller_of_session(self._work, session)
        raise Unauthenticated("The request says not who sends it: send `Authorization: Bearer <token>`, or sign in.")

    async def _of_token(self, given: str) -> Caller:
        if given.startswith("ink_"):
            return await actions.caller_of_token(self._work, given)
        if given.startswith("inks_"):
            return await actions.caller_of_session(self._work, given)
        if same(given, self._admin_token):
            return INSTALLATION
        raise Unauthenticated("The token is not one of this installation; its own is in the file admin.token of its home.")


def check_same_site(request: Request) -> None:
    """Refuse what another site's page makes a browser send.

    The cookie is ``SameSite=Strict`` already; a browser that does not keep to that still says where a request comes from.

    Raises:
        Forbidden: it comes from elsewhere.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_ours:
        raise Forbidden("Another site's page sent this with your session; nothing was done.")
