"""Users, their tokens and the audit log, as typed calls."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from google.protobuf.empty_pb2 import Empty

from inkwright.common.v1 import permission_pb2
from inkwright.gateway.v1 import audit_entry_pb2, audit_service_pb2, user_pb2, user_service_pb2
from libs.client.rest import RestClient, pages

USERS = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]
AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]

PAGE_SIZE = 500


class Users:
    """Who may call an installation.

    Every method raises ``ApiError`` when the server refuses and ``Unreachable`` when it does not answer. Users are named short
    (``ann``) or whole (``users/ann``).
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def create(
        self, user_id: str, role: user_pb2.Role.ValueType, *, display_name: str = "", service_account: bool = False
    ) -> user_pb2.User:
        """Make a user, who has no password and no token yet."""
        kind = user_pb2.User.SERVICE_ACCOUNT if service_account else user_pb2.User.PERSON
        user = user_pb2.User(role=role, display_name=display_name, kind=kind)
        return self._rest.call(USERS, "CreateUser", user_service_pb2.CreateUserRequest(user_id=user_id, user=user), user_pb2.User)

    def list_users(self) -> list[user_pb2.User]:
        """All, by name."""
        request = user_service_pb2.ListUsersRequest(page_size=PAGE_SIZE)
        answers = pages(self._rest, USERS, "ListUsers", request, user_service_pb2.ListUsersResponse)
        return [user for answer in answers for user in answer.users]

    def update(self, user: user_pb2.User, fields: Sequence[str]) -> user_pb2.User:
        """Change ``fields`` of a user to what ``user`` says."""
        request = user_service_pb2.UpdateUserRequest(user=user)
        request.update_mask.paths.extend(fields)
        return self._rest.call(USERS, "UpdateUser", request, user_pb2.User)

    def delete(self, user: str) -> None:
        """Delete a user with its tokens."""
        self._rest.call(USERS, "DeleteUser", user_service_pb2.DeleteUserRequest(name=full_name(user)), Empty)

    def set_password(self, user: str, password: str, *, old_password: str = "") -> user_pb2.User:
        """Give a person a password; one's own needs the old one."""
        request = user_service_pb2.SetPasswordRequest(name=full_name(user), password=password, old_password=old_password)
        return self._rest.call(USERS, "SetPassword", request, user_pb2.User)

    def create_token(
        self,
        user: str,
        *,
        description: str = "",
        scopes: Sequence[permission_pb2.Permission.ValueType] = (),
        life: timedelta | None = None,
        now: datetime | None = None,
    ) -> user_service_pb2.CreateTokenResponse:
        """Make a token that lives for ``life`` from ``now`` on (both, or neither for one without an end)."""
        token = user_pb2.Token(description=description, scopes=scopes)
        if life is not None and now is not None:
            token.expire_time.FromDatetime(now + life)
        request = user_service_pb2.CreateTokenRequest(parent=full_name(user), token=token)
        return self._rest.call(USERS, "CreateToken", request, user_service_pb2.CreateTokenResponse)

    def list_tokens(self, user: str) -> list[user_pb2.Token]:
        """Tokens of a user, newest first."""
        request = user_service_pb2.ListTokensRequest(parent=full_name(user), page_size=PAGE_SIZE)
        answers = pages(self._rest, USERS, "ListTokens", request, user_service_pb2.ListTokensResponse)
        return [token for answer in answers for token in answer.tokens]

    def delete_token(self, name: str) -> None:
        """Withdraw a token, by whole name."""
        self._rest.call(USERS, "DeleteToken", user_service_pb2.DeleteTokenRequest(name=name), Empty)

    def caller(self) -> user_service_pb2.GetCallerResponse:
        """Who one is, and what that may do."""
        return self._rest.call(USERS, "GetCaller", user_service_pb2.GetCallerRequest(), user_service_pb2.GetCallerResponse)

    def access_token(self) -> user_service_pb2.CreateAccessTokenResponse:
        """A token for calling the services by gRPC."""
        request = user_service_pb2.CreateAccessTokenRequest()
        return self._rest.call(USERS, "CreateAccessToken", request, user_service_pb2.CreateAccessTokenResponse)

    def audit_entries(self, *, principal: str = "", resource: str = "", limit: int = 100) -> list[audit_entry_pb2.AuditEntry]:
        """The newest lines of the audit log, newest first."""
        found: list[audit_entry_pb2.AuditEntry] = []
        request = audit_service_pb2.ListAuditEntriesRequest(principal=principal, resource=resource, page_size=min(limit, PAGE_SIZE))
        for answer in pages(self._rest, AUDIT, "ListAuditEntries", request, audit_service_pb2.ListAuditEntriesResponse):
            found += answer.audit_entries
            if len(found) >= limit:
                break
        return found[:limit]


def full_name(user: str) -> str:
    """``ann`` → ``users/ann``."""
    return user if user.startswith("users/") else f"users/{user}"
