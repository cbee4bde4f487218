"""One function for each verb on users, tokens and sessions."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from gateway.identity.domain import (
    SESSION_LIFE,
    USE_NOTED,
    AuditEntry,
    Kind,
    Outcome,
    Role,
    Session,
    Token,
    User,
    WrongPassword,
    check_password,
    check_scopes,
    digest_of,
)
from gateway.identity.passwords import Passwords, Throttle
from gateway.store import GatewayWork, Work
from libs.runtime import call_context
from libs.runtime.caller import Caller
from libs.runtime.errors import Conflict, InvalidInput, NotFound, Unauthenticated, WrongState
from libs.runtime.names import USER, check_id, new_id
from libs.runtime.paging import Cursor, Page
from libs.runtime.secrets import new_token

MAX_DISPLAY_NAME = 100
MAX_DESCRIPTION = 200


async def create_user(work: Work, user_id: str, *, kind: Kind, role: Role, display_name: str) -> User:
    """Make a user, still without a password and tokens.

    Raises:
        InvalidName: an id that cannot be one.
        InvalidInput: a display name of more than 100 characters.
        AlreadyExists: the id is taken.
    """
    check_id(user_id, "user")
    _check_length(display_name, MAX_DISPLAY_NAME, "display name")
    async with work() as w:
        user = User(user_id, kind, role, display_name, False, "", w.now, w.now, None)
        await w.users.add(user)
        await w.commit()
    return user


async def get_user(work: Work, name: str) -> User:
    """One user.

    Raises:
        NotFound: there is none of this name.
    """
    async with work(read_only=True) as w:
        return await w.users.get(_id(name))


async def list_users(work: Work, *, size: int, after: Cursor) -> Page[User]:
    """Users, by id."""
    async with work(read_only=True) as w:
        return await w.users.page(size=size, after=after)


async def update_user(
    work: Work, name: str, *, etag: str, role: Role | None = None, display_name: str | None = None, disabled: bool | None = None
) -> User:
    """Change what is given.

    Raises:
        NotFound: no such user.
        Conflict: the etag is stale.
        InvalidInput: a display name of more than 100 characters.
    """
    _check_length(display_name or "", MAX_DISPLAY_NAME, "display name")
    async with work() as w:
        user = await w.users.get(_id(name), lock=True)
        user.check_etag(etag)
        changed = user.changed(
            at=w.now,
            role=role or user.role,
            display_name=user.display_name if display_name is None else display_name,
            disabled=user.disabled if disabled is None else disabled,
        )
        await w.users.put(changed)
        await w.commit()
    return changed


async def delete_user(work: Work, name: str, *, etag: str) -> None:
    """Delete a user with its sessions and tokens.

    Raises:
        NotFound: no such user.
        Conflict: the etag is stale.
    """
    async with work() as w:
        (await w.users.get(_id(name), lock=True)).check_etag(etag)
        await w.users.remove(_id(name))
        await w.commit()


async def set_password(work: Work, passwords: Passwords, throttle: Throttle, caller: Caller, name: str, *, new: str, old: str) -> User:
    """Change a password and end the user's sessions.

    Raises:
        NotFound: no such user.
        Forbidden: somebody else's, or one's first, without ADMINISTER.
        WrongPassword: one's own, and the old one is not right.
        Conflict: it was changed while this was checked.
        WeakPassword: the new one is too short.
        WrongState: a service account has none.
    """
    if caller.principal != name:
        caller.require("ADMINISTER")
    check_password(new)
    user = await get_user(work, name)
    if user.kind is not Kind.PERSON:
        raise WrongState(f"{name} is a service account: it has tokens, no password.", name=name)
    if caller.principal == name and user.password_hash:
        await _check_old(passwords, throttle, user, old)
    else:
        # The first password is not the user's own business: with it a token of little scope would become the whole user.
        caller.require("ADMINISTER")
    kept = await passwords.hash(new)
    async with work() as w:
        found = await w.users.get(user.user_id, lock=True)
        if found.password_hash != user.password_hash:
            raise Conflict(f"The password of {name} was changed meanwhile; try again.", name=name)
        changed = replace(found, password_hash=kept, update_time=w.now)
        await w.users.put(changed)
        await w.sessions.remove_of(user.user_id)
        await w.commit()
    return changed


async def _check_old(passwords: Passwords, throttle: Throttle, user: User, old: str) -> None:
    throttle.begin(user.user_id)
    if not await passwords.fits(old, user.password_hash):
        raise WrongPassword("The old password is not right.")
    throttle.forgive(user.user_id)


async def create_token(
    work: Work, caller: Caller, parent: str, *, description: str, scopes: Collection[str], expire_time: datetime | None
) -> tuple[Token, str]:
    """Make a token.

    Returns:
        The token, and its secret, which is not kept.

    Raises:
        NotFound: no such user.
        Forbidden: without ADMINISTER somebody else's, or one's own by another token in place of a session; or a token that may do more
            than the caller itself.
        InvalidInput: an end that lies in the past, a scope that the user's role does not have.
    """
    # A token that could make tokens would outlive its own end, and its withdrawal.
    if not caller.is_session or caller.principal != parent:
        caller.require("ADMINISTER")
    _check_length(description, MAX_DESCRIPTION, "description")
    secret = new_token()
    async with work() as w:
        if expire_time is not None and expire_time <= w.now:
            raise InvalidInput("expire_time lies in the past; leave it out for a token without an end.")
        owner = await w.users.get(_id(parent))
        check_scopes(frozenset(scopes), owner, caller)
        token = Token(new_id("tk"), owner.user_id, description, frozenset(scopes), digest_of(secret), w.now, expire_time, None)
        await w.tokens.add(token)
        await w.commit()
    return token, f"ink_{token.token_id}_{secret}"


async def list_tokens(work: Work, caller: Caller, parent: str, *, size: int, after: Cursor) -> Page[Token]:
    """Tokens of a user, newest first.

    Raises:
        Forbidden: somebody else's, without ADMINISTER.
        NotFound: no such user.
    """
    _check_own(caller, parent)
    async with work(read_only=True) as w:
        await w.users.get(_id(parent))
        return await w.tokens.page(_id(parent), size=size, after=after)


async def delete_token(work: Work, caller: Caller, user: str, token_id: str) -> None:
    """Withdraw a token.

    Raises:
        Forbidden: somebody else's, without ADMINISTER.
        NotFound: no such token.
    """
    _check_own(caller, user)
    async with work() as w:
        found = await w.tokens.find(token_id)
        if found is None or found.user_id != _id(user):
            raise NotFound(f"There is no token {token_id} of {user}; `inkctl token list` shows those there are.", token=token_id)
        await w.tokens.remove(token_id)
        await w.commit()


async def caller_of_token(work: Work, text: str) -> Caller:
    """Whom a token stands for.

    Raises:
        Unauthenticated: no such token, one whose time is over, or one of a disabled user.
    """
    _, token_id, secret = _parts(text)
    async with work(read_only=True) as w:
        token = await w.tokens.find(token_id)
        user = await w.users.find(token.user_id) if token else None
        if token is None or user is None or not token.opens(secret, w.now):
            raise Unauthenticated("The token is not valid, or not any more; ask for a new one.")
        caller = user.caller(token.scopes)
        is_noted = token.use_time is not None and w.now - token.use_time < USE_NOTED
    if not is_noted:
        async with work() as w:
            await w.tokens.note_use(token_id, w.now)
            await w.commit()
    return caller


async def caller_of_session(work: Work, text: str) -> Caller:
    """Whom a session stands for.

    Raises:
        Unauthenticated: no such session, one that has ended, or one of a disabled user.
    """
    _, session_id, secret = _parts(text)
    async with work(read_only=True) as w:
        session = await w.sessions.find(session_id)
        user = await w.users.find(session.user_id) if session else None
        if session is None or user is None or not session.opens(secret, w.now):
            raise Unauthenticated("The session has ended; sign in again.")
        caller = replace(user.caller(), is_session=True)
        is_noted = w.now - session.use_time < USE_NOTED
    if not is_noted:
        async with work() as w:
            await w.sessions.note_use(session_id, w.now)
            await w.commit()
    return caller


async def sign_in(work: Work, passwords: Passwords, throttle: Throttle, user_id: str, password: str) -> tuple[Caller, str, datetime]:
    """Begin a session.

    Returns:
        Who it is, the session's secret, and when it ends at the latest.

    Raises:
        WrongPassword: no such user, no password, or another one.
        SignInBlocked: too many wrong ones before.
        Unauthenticated: the user is disabled.
    """
    throttle.begin(user_id)
    async with work(read_only=True) as w:
        known = await w.users.find(user_id)
    fitted = await passwords.fits(password, known.password_hash if known else "")
    async with work() as w:
        user = await w.users.get(user_id, lock=True) if known else None
        # It may have been changed while it was checked.
        if known is None or user is None or not fitted or user.password_hash != known.password_hash or user.disabled:
            w.audit.add(_entry(w, f"users/{user_id}", "SignIn", Outcome.REFUSED))
            await w.commit()
            if user is not None and fitted:
                user.caller()
            raise WrongPassword("The name or the password is not right.")
        throttle.forgive(user_id)
        caller = user.caller()
        secret = new_token()
        session = Session(new_id("se"), user.user_id, digest_of(secret), w.now + SESSION_LIFE, w.now)
        await w.sessions.add(session)
        await w.users.put(replace(user, sign_in_time=w.now))
        w.audit.add(_entry(w, user.name, "SignIn", Outcome.DONE))
        await w.commit()
    return caller, f"inks_{session.session_id}_{secret}", session.expire_time


async def sign_out(work: Work, text: str) -> None:
    """End a session; one that has ended already stays so."""
    _, session_id, secret = _parts(text)
    async with work() as w:
        session = await w.sessions.find(session_id)
        if session is not None and session.opens(secret, w.now):
            await w.sessions.remove(session_id)
            w.audit.add(_entry(w, USER.format(user=session.user_id), "SignOut", Outcome.DONE))
            await w.commit()


def _entry(w: GatewayWork, principal: str, method: str, outcome: Outcome) -> AuditEntry:
    # A stranger's words are kept, but no more of them than a name has.
    return AuditEntry(w.now, principal[:100], method, outcome, call_context.request_id.get() or "", resource=principal[:100])


def _check_own(caller: Caller, user: str) -> None:
    if caller.principal != user:
        caller.require("ADMINISTER")


def _check_length(text: str, maximum: int, what: str) -> None:
    if len(text) > maximum:
        raise InvalidInput(f"A {what} has at most {maximum} characters.", maximum=maximum)


def _id(name: str) -> str:
    return USER.parse(name)["user"]


def _parts(text: str) -> tuple[str, str, str]:
    kind, _, rest = text.partition("_")
    key, _, secret = rest.partition("_")
    return kind, key, secret
