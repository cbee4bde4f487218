"""Access tokens: how a caller is carried from process to process, signed with a key that all of them share.

A JSON Web Token (RFC 7519, HMAC-SHA-256). It lives for minutes and is never stored, so nothing has to be asked to check one.
"""

import time
from functools import lru_cache
from typing import Any, Final

import jwt

from libs.runtime.caller import ALL_PERMISSIONS, Caller
from libs.runtime.errors import Unauthenticated

ALGORITHM: Final = "HS256"
AUDIENCE: Final = "inkwright-grpc"
LEEWAY_SECONDS: Final = 60
"""How far the clocks of two machines may be apart."""
_STEP_SECONDS: Final = 30
_REMEMBERED: Final = 1024


class AccessKey:
    """Signs and checks.

    Args:
        key: 32 bytes, derived from the installation's.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        # A caller makes many calls within the life of a token: signing and checking cost 20 to 40 µs each, remembering next to nothing.
        self._signed = lru_cache(_REMEMBERED)(self._sign)
        self._checked = lru_cache(_REMEMBERED)(self._check)

    def sign(self, caller: Caller, *, seconds: int = 120) -> str:
        """A token that lives for ``seconds``, or up to 30 s less."""
        return self._signed(caller, (int(time.time()) // _STEP_SECONDS) * _STEP_SECONDS + seconds)

    def caller(self, token: str) -> Caller:
        """Whom a token stands for.

        Raises:
            Unauthenticated: it was not signed with this key, or it has run out.
        """
        caller, expires = self._checked(token)
        if time.time() > expires + LEEWAY_SECONDS:
            raise Unauthenticated(
                "The access token has run out; get a new one and call again. "
                "If it is new, the clocks of the machines differ by more than a minute."
            )
        return caller

    def _sign(self, caller: Caller, expires: int) -> str:
        claims = {"aud": AUDIENCE, "sub": caller.principal, "exp": expires, "permissions": sorted(caller.permissions)}
        if caller.on_behalf_of:
            claims["on_behalf_of"] = caller.on_behalf_of
        return jwt.encode(claims, self._key, ALGORITHM)

    def _check(self, token: str) -> tuple[Caller, float]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"require": ["sub", "exp", "permissions"], "verify_exp": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("The access token is not one of this installation.") from error
        # A permission of a newer version means nothing here.
        permissions = ALL_PERMISSIONS.intersection(claims["permissions"])
        return Caller(claims["sub"], permissions, claims.get("on_behalf_of", "")), float(claims["exp"])
