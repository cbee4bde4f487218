"""The gateway's own methods about users, tokens and the audit log; each reads the request, calls one action, converts."""

# ruff: noqa: N802 - the proto names the methods

from datetime import timedelta
from typing import Final

from google.protobuf.empty_pb2 import Empty

from gateway.identity import actions, convert
from gateway.identity.passwords import Passwords, Throttle
from gateway.store import Work
from inkwright.gateway.v1 import audit_service_pb2, user_pb2, user_service_pb2
from libs.runtime import call_context
from libs.runtime.access_token import AccessKey
from libs.runtime.caller import Caller
from libs.runtime.errors import InvalidInput
from libs.runtime.names import TOKEN, USER
from libs.runtime.paging import page_cursor, page_size, page_token
from libs.runtime.times import from_timestamp, to_timestamp, utc_now

ACCESS_TOKEN_LIFE: Final = timedelta(minutes=15)
CHANGEABLE: Final = {"role", "display_name", "disabled"}


class UserApi:
    """See ``UserService`` in the protos."""

    def __init__(self, work: Work, passwords: Passwords, throttle: Throttle, key: AccessKey) -> None:
        self._work = work
        self._passwords = passwords
        self._throttle = throttle
        self._key = key

    async def CreateUser(self, request: user_service_pb2.CreateUserRequest) -> user_pb2.User:
        kind, role = convert.kind_from_proto(request.user.kind), convert.role_from_proto(request.user.role)
        user = await actions.create_user(self._work, request.user_id, kind=kind, role=role, display_name=request.user.display_name)
        return convert.user_to_proto(user)

    async def GetUser(self, request: user_service_pb2.GetUserRequest) -> user_pb2.User:
        return convert.user_to_proto(await actions.get_user(self._work, request.name))

    async def ListUsers(self, request: user_service_pb2.ListUsersRequest) -> user_service_pb2.ListUsersResponse:
        page = await actions.list_users(self._work, size=page_size(request), after=page_cursor(request))
        users = [convert.user_to_proto(user) for user in page.items]
        return user_service_pb2.ListUsersResponse(users=users, next_page_token=page_token(request, page.next_cursor))

    async def UpdateUser(self, request: user_service_pb2.UpdateUserRequest) -> user_pb2.User:
        given = set(request.update_mask.paths) or {field.name for field, _ in request.user.ListFields()}
        if refused := sorted(given - CHANGEABLE - {"name", "etag"}):
            raise InvalidInput(f"{', '.join(refused)} cannot be changed, only {', '.join(sorted(CHANGEABLE))}.", fields=", ".join(refused))
        user = await actions.update_user(
            self._work,
            request.user.name,
            etag=request.user.etag,
            role=convert.role_from_proto(request.user.role) if "role" in given else None,
            display_name=request.user.display_name if "display_name" in given else None,
            disabled=request.user.disabled if "disabled" in given else None,
        )
        return convert.user_to_proto(user)

    async def DeleteUser(self, request: user_service_pb2.DeleteUserRequest) -> Empty:
        await actions.delete_user(self._work, request.name, etag=request.etag)
        return Empty()

    async def SetPassword(self, request: user_service_pb2.SetPasswordRequest) -> user_pb2.User:
        user = await actions.set_password(
            self._work, self._passwords, self._throttle, _caller(), request.name, new=request.password, old=request.old_password
        )
        return convert.user_to_proto(user)

    async def CreateToken(self, request: user_service_pb2.CreateTokenRequest) -> user_service_pb2.CreateTokenResponse:
        token, secret = await actions.create_token(
            self._work,
            _caller(),
            request.parent,
            description=request.token.description,
            scopes=convert.scopes_from_proto(request.token.scopes),
            expire_time=from_timestamp(request.token.expire_time),
        )
        return user_service_pb2.CreateTokenResponse(token=convert.token_to_proto(token), secret=secret)

    async def ListTokens(self, request: user_service_pb2.ListTokensRequest) -> user_service_pb2.ListTokensResponse:
        size, after = page_size(request), page_cursor(request)
        page = await actions.list_tokens(self._work, _caller(), request.parent, size=size, after=after)
        tokens = [convert.token_to_proto(token) for token in page.items]
        return user_service_pb2.ListTokensResponse(tokens=tokens, next_page_token=page_token(request, page.next_cursor))

    async def DeleteToken(self, request: user_service_pb2.DeleteTokenRequest) -> Empty:
        ids = TOKEN.parse(request.name)
        await actions.delete_token(self._work, _caller(), USER.format(user=ids["user"]), ids["token"])
        return Empty()

    async def GetCaller(self, request: user_service_pb2.GetCallerRequest) -> user_service_pb2.GetCallerResponse:
        caller = _caller()
        return user_service_pb2.GetCallerResponse(principal=caller.principal, permissions=convert.permissions_to_proto(caller.permissions))

    async def CreateAccessToken(self, request: user_service_pb2.CreateAccessTokenRequest) -> user_service_pb2.CreateAccessTokenResponse:
        token = self._key.sign(_caller(), seconds=round(ACCESS_TOKEN_LIFE.total_seconds()))
        async with self._work() as w:
            # It is kept nowhere; that it was made is.
            await w.commit()
        # Half a minute less than it may live, the width of the steps in which lives are counted.
        expires = utc_now() + ACCESS_TOKEN_LIFE - timedelta(seconds=30)
        return user_service_pb2.CreateAccessTokenResponse(access_token=token, expire_time=to_timestamp(expires))


class AuditApi:
    """See ``AuditService`` in the protos."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def ListAuditEntries(self, request: audit_service_pb2.ListAuditEntriesRequest) -> audit_service_pb2.ListAuditEntriesResponse:
        size, after = page_size(request), page_cursor(request)
        async with self._work(read_only=True) as w:
            page = await w.audit.page(principal=request.principal, resource=request.resource, size=size, after=after)
        entries = [convert.audit_entry_to_proto(entry) for entry in page.items]
        return audit_service_pb2.ListAuditEntriesResponse(audit_entries=entries, next_page_token=page_token(request, page.next_cursor))


def _caller() -> Caller:
    caller = call_context.caller.get()
    assert caller is not None, "nobody comes this far unknown"
    return caller
