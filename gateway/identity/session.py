"""``/v1/session``: sign in and out."""

import re
from datetime import datetime
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from gateway.identity import actions
from gateway.identity.doorkeeper import COOKIE, check_same_site, token_in
from gateway.identity.passwords import Passwords, Throttle
from gateway.intake import read_limited
from gateway.store import Work
from gateway.transcode.openapi import ERROR_RESPONSE
from libs.runtime.errors import InvalidInput

PATH: Final = "/v1/session"
MAX_BODY_BYTES: Final = 8192


class SignIn(BaseModel):
    """The body of a sign-in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user: str
    password: str


class Sessions:
    """The endpoints, open to strangers.

    Args:
        secure_cookies: whether browsers may send the session over HTTPS only.
    """

    def __init__(self, work: Work, passwords: Passwords, throttle: Throttle, *, secure_cookies: bool) -> None:
        self._work = work
        self._passwords = passwords
        self._throttle = throttle
        self._secure_cookies = secure_cookies

    async def sign_in(self, request: Request) -> Response:
        """Begin a session: who it is, and the cookie.

        Raises:
            InvalidInput: the body is no ``{"user": …, "password": …}``.
            WrongPassword, SignInBlocked, Unauthenticated: see ``actions.sign_in``.
        """
        check_same_site(request)
        try:
            body = SignIn.model_validate_json(await read_limited(request, MAX_BODY_BYTES))
        except ValidationError as error:
            raise InvalidInput('The body must be {"user": "ann", "password": "…"}.') from error
        user_id = re.sub(r"^users/", "", body.user)
        caller, secret, ends = await actions.sign_in(self._work, self._passwords, self._throttle, user_id, body.password)
        answer = {"principal": caller.principal, "permissions": sorted(caller.permissions), "expireTime": _text(ends)}
        response = Response(orjson.dumps(answer), media_type="application/json", headers={"Cache-Control": "no-store"})
        response.set_cookie(COOKIE, secret, expires=ends, path="/", secure=self._secure_cookies, httponly=True, samesite="strict")
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session that the request carries, if it carries one."""
        check_same_site(request)
        session = request.cookies.get(COOKIE) or token_in(request.headers.get("authorization"))
        if session.startswith("inks_"):
            await actions.sign_out(self._work, session)
        response = Response(b"{}", media_type="application/json")
        response.delete_cookie(COOKIE, path="/", secure=self._secure_cookies, httponly=True, samesite="strict")
        return response


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def openapi_paths() -> dict[str, dict[str, Any]]:
    """The OpenAPI path item of these routes."""
    signed_in = {
        "type": "object",
        "required": ["principal", "permissions", "expireTime"],
        "properties": {
            "principal": {"type": "string", "description": "`users/ann`"},
            "permissions": {"type": "array", "items": {"type": "string"}},
            "expireTime": {"type": "string", "format": "date-time", "description": "When the session ends at the latest."},
        },
    }
    body = {
        "type": "object",
        "required": ["user", "password"],
        "additionalProperties": False,
        "properties": {"user": {"type": "string"}, "password": {"type": "string"}},
    }
    common: dict[str, Any] = {"tags": ["Session"], "security": []}
    return {
        PATH: {
            "post": common
            | {
                "operationId": "SignIn",
                "description": f"Begins a session and sets the cookie `{COOKIE}`. Too many wrong passwords are answered with 429.",
                "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
                "responses": {
                    "200": {"description": "Signed in.", "content": {"application/json": {"schema": signed_in}}},
                    "default": ERROR_RESPONSE,
                },
            },
            "delete": common
            | {
                "operationId": "SignOut",
                "description": "Ends the session that the request carries; without one nothing happens.",
                "responses": {
                    "200": {"description": "Signed out.", "content": {"application/json": {"schema": {"type": "object"}}}},
                    "default": ERROR_RESPONSE,
                },
            },
        }
    }
