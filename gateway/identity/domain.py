"""Users, roles, sessions and tokens: no I/O, no clock, no random."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from libs.runtime.caller import ALL_PERMISSIONS, Caller
from libs.runtime.errors import Conflict, Forbidden, InvalidInput, RateLimited, Unauthenticated
from libs.runtime.names import TOKEN, USER
from libs.runtime.secrets import same

MIN_PASSWORD: Final = 10
MAX_PASSWORD: Final = 200
SESSION_LIFE: Final = timedelta(days=7)
SESSION_REST: Final = timedelta(hours=12)
"""A session that nobody used for so long has ended."""
USE_NOTED: Final = timedelta(minutes=1)
"""How exactly the last use of a session or a token is known."""
INSTALLATION: Final = Caller("installation", ALL_PERMISSIONS - {"INTERNAL_CALL"})
"""Whoever holds the installation's own token."""


class WeakPassword(InvalidInput):
    """A password that is too short, or absurdly long."""

    reason = "WEAK_PASSWORD"


class WrongPassword(Unauthenticated):
    """No such user, or another password: which of them is not said."""

    reason = "WRONG_PASSWORD"


class SignInBlocked(RateLimited):
    """Too many wrong passwords in a short time."""

    reason = "SIGN_IN_BLOCKED"


class TokenExceedsCaller(Forbidden):
    """A token that could do more than the call that makes it."""

    reason = "TOKEN_EXCEEDS_CALLER"


class Role(StrEnum):
    """What a user may do."""

    ADMIN = "ADMIN"
    TRAINER = "TRAINER"
    LABELER = "LABELER"
    DEPLOYER = "DEPLOYER"
    VIEWER = "VIEWER"


ROLE_PERMISSIONS: Final = {
    Role.ADMIN: INSTALLATION.permissions,
    Role.TRAINER: frozenset({"SIGNED_IN", "VIEW", "LABEL", "TRAIN", "PREDICT"}),
    Role.LABELER: frozenset({"SIGNED_IN", "VIEW", "LABEL"}),
    Role.DEPLOYER: frozenset({"SIGNED_IN", "VIEW", "DEPLOY", "PREDICT"}),
    Role.VIEWER: frozenset({"SIGNED_IN", "VIEW"}),
}
"""Permissions of the roles; docs/permissions.md shows the table to people."""


class Kind(StrEnum):
    """What a user is."""

    PERSON = "PERSON"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"


@dataclass(frozen=True)
class User:
    """Someone, or some program, who may call. ``password_hash`` is empty where there is no password."""

    user_id: str
    kind: Kind
    role: Role
    display_name: str
    disabled: bool
    password_hash: str = field(repr=False)
    create_time: datetime
    update_time: datetime
    sign_in_time: datetime | None
    revision: int = 1

    @property
    def name(self) -> str:
        """Resource name, and principal of the user's calls."""
        return USER.format(user=self.user_id)

    @property
    def etag(self) -> str:
        """Changes with each change of what an administrator sets."""
        return str(self.revision)

    def check_etag(self, etag: str) -> None:
        """Make sure that a change is one of what is there.

        Raises:
            Conflict: the etag is stale; an empty one never is.
        """
        if etag and etag != self.etag:
            raise Conflict(f"{self.name} was changed meanwhile; read it again and repeat.", name=self.name)

    def changed(self, *, at: datetime, role: Role, display_name: str, disabled: bool) -> "User":
        """With what an administrator sets."""
        return replace(self, role=role, display_name=display_name, disabled=disabled, update_time=at, revision=self.revision + 1)

    def caller(self, scopes: frozenset[str] = frozenset()) -> Caller:
        """Who calls in this user's name.

        Args:
            scopes: of the token that is used; empty for everything that the role allows.

        Raises:
            Unauthenticated: the user is disabled.
        """
        if self.disabled:
            raise Unauthenticated(f"{self.name} is disabled; ask an administrator.", name=self.name)
        permissions = ROLE_PERMISSIONS[self.role]
        return Caller(self.name, permissions & (scopes | {"SIGNED_IN"}) if scopes else permissions)


@dataclass(frozen=True)
class Token:
    """A secret that stands for a user; only its digest is kept."""

    token_id: str
    user_id: str
    description: str
    scopes: frozenset[str]
    digest: str = field(repr=False)
    create_time: datetime
    expire_time: datetime | None
    use_time: datetime | None

    @property
    def name(self) -> str:
        """Resource name."""
        return TOKEN.format(user=self.user_id, token=self.token_id)

    def opens(self, secret: str, at: datetime) -> bool:
        """Whether a secret is this token's, and in time."""
        return same(digest_of(secret), self.digest) and (self.expire_time is None or at < self.expire_time)


@dataclass(frozen=True)
class Session:
    """A sign-in that goes on; only the digest of its secret is kept."""

    session_id: str
    user_id: str
    digest: str = field(repr=False)
    expire_time: datetime
    use_time: datetime

    def opens(self, secret: str, at: datetime) -> bool:
        """Whether a secret is this session's, and in time."""
        return same(digest_of(secret), self.digest) and at < min(self.expire_time, self.use_time + SESSION_REST)


class Outcome(StrEnum):
    """How it ended."""

    DONE = "DONE"
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit log; ``number`` is 0 until it is kept."""

    time: datetime
    principal: str
    method: str
    outcome: Outcome
    request_id: str
    on_behalf_of: str = ""
    resource: str = ""
    permission: str = ""
    number: int = 0


def digest_of(secret: str) -> str:
    """What is kept of a secret of 256 random bits: nothing slower than SHA-256 is needed where nothing can be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_password(password: str) -> None:
    """Let a new password pass.

    Length alone counts (NIST SP 800-63B, 5.1.1.2): rules about kinds of characters make people choose worse ones.

    Raises:
        WeakPassword: fewer than 10 or more than 200 characters.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise WeakPassword(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters; choose another.", minimum=MIN_PASSWORD)


def check_scopes(scopes: frozenset[str], owner: User, maker: Caller) -> None:
    """Let a new token pass.

    Raises:
        InvalidInput: a scope that the owner's role does not have.
        TokenExceedsCaller: the token could do what the call that makes it could not.
    """
    allowed = ROLE_PERMISSIONS[owner.role]
    if useless := sorted(scopes - allowed):
        raise InvalidInput(f"The role {owner.role} of {owner.name} has no {', '.join(useless)}.", scopes=", ".join(useless))
    if beyond := sorted((scopes or allowed) - maker.permissions):
        raise TokenExceedsCaller(
            f"This call may not do {', '.join(beyond)} itself, so it cannot make a token that may; name fewer scopes.",
            scopes=", ".join(beyond),
        )
