"""Users, tokens and audit entries, to and from the protos."""

from collections.abc import Collection

from gateway.identity.domain import AuditEntry, Kind, Role, Token, User
from inkwright.common.v1 import permission_pb2
from inkwright.gateway.v1 import audit_entry_pb2, user_pb2
from libs.runtime.errors import InvalidInput
from libs.runtime.names import AUDIT_ENTRY
from libs.runtime.times import to_timestamp


def user_to_proto(user: User) -> user_pb2.User:
    """Without the password's hash."""
    return user_pb2.User(
        name=user.name,
        kind=user_pb2.User.Kind.Value(user.kind),
        role=user_pb2.Role.Value(user.role),
        display_name=user.display_name,
        disabled=user.disabled,
        create_time=to_timestamp(user.create_time),
        update_time=to_timestamp(user.update_time),
        sign_in_time=to_timestamp(user.sign_in_time),
        etag=user.etag,
    )


def role_from_proto(role: user_pb2.Role.ValueType) -> Role:
    """A role.

    Raises:
        InvalidInput: none is given, or one of a newer version.
    """
    try:
        return Role(user_pb2.Role.Name(role))
    except ValueError:
        raise InvalidInput(f"role is missing; it is one of {', '.join(Role)}.", roles=", ".join(Role)) from None


def kind_from_proto(kind: user_pb2.User.Kind.ValueType) -> Kind:
    """A kind; a person where none is given.

    Raises:
        InvalidInput: one of a newer version.
    """
    if kind == user_pb2.User.Kind.KIND_UNSPECIFIED:
        return Kind.PERSON
    try:
        return Kind(user_pb2.User.Kind.Name(kind))
    except ValueError:
        raise InvalidInput(f"kind is one of {', '.join(Kind)}.", kinds=", ".join(Kind)) from None


def token_to_proto(token: Token) -> user_pb2.Token:
    """Without the digest."""
    return user_pb2.Token(
        name=token.name,
        description=token.description,
        scopes=permissions_to_proto(token.scopes),
        expire_time=to_timestamp(token.expire_time),
        create_time=to_timestamp(token.create_time),
        use_time=to_timestamp(token.use_time),
    )


def permissions_to_proto(names: Collection[str]) -> list[permission_pb2.Permission.ValueType]:
    """In the order of the proto."""
    return sorted(permission_pb2.Permission.Value(name) for name in names)


def scopes_from_proto(scopes: Collection[permission_pb2.Permission.ValueType]) -> frozenset[str]:
    """Names of permissions.

    Raises:
        InvalidInput: a number without a name.
    """
    try:
        return frozenset(permission_pb2.Permission.Name(scope) for scope in scopes)
    except ValueError:
        raise InvalidInput("A scope is the name of a permission, such as VIEW or LABEL.") from None


def audit_entry_to_proto(entry: AuditEntry) -> audit_entry_pb2.AuditEntry:
    """Whole."""
    return audit_entry_pb2.AuditEntry(
        name=AUDIT_ENTRY.format(audit_entry=str(entry.number)),
        time=to_timestamp(entry.time),
        principal=entry.principal,
        on_behalf_of=entry.on_behalf_of,
        method=entry.method,
        resource=entry.resource,
        permission=entry.permission,
        outcome=audit_entry_pb2.AuditEntry.Outcome.Value(entry.outcome),
        request_id=entry.request_id,
    )
