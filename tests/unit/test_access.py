"""Access tokens, roles, tokens' scopes, and the brake on guessing."""

import asyncio
import dataclasses
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from gateway.identity.domain import (
    INSTALLATION,
    ROLE_PERMISSIONS,
    Kind,
    Role,
    SignInBlocked,
    Token,
    TokenExceedsCaller,
    User,
    check_scopes,
    digest_of,
)
from gateway.identity.passwords import FREE_TRIES, MAX_WAIT_SECONDS, Passwords, Throttle
from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from libs.runtime import access_token
from libs.runtime.access_token import ALGORITHM, AUDIENCE, AccessKey
from libs.runtime.caller import SERVICE_PERMISSIONS, Caller
from libs.runtime.errors import Forbidden, InvalidInput, NotFound, QueueFull, Unauthenticated
from libs.runtime.names import check_project
from libs.runtime.request_resource import resource_of

AT = datetime(2026, 11, 1, tzinfo=UTC)
KEY = AccessKey(b"k" * 32)
LABELER = Caller("users/ann", ROLE_PERMISSIONS[Role.LABELER])


def user(role: Role = Role.LABELER, *, disabled: bool = False) -> User:
    return User("ann", Kind.PERSON, role, "Ann", disabled, "", AT, AT, None)


def test_a_caller_survives_the_way() -> None:
    caller = Caller("services/labeling", SERVICE_PERMISSIONS["labeling"], "users/ann")
    assert KEY.caller(KEY.sign(caller)) == caller
    assert caller.actor == "users/ann"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", jwt.encode({"sub": "users/ann"}, b"k" * 32, ALGORITHM)])
def test_what_was_not_signed_for_this_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        KEY.caller(token)


def test_another_key_another_audience_and_no_signature_are_refused() -> None:
    claims = {"aud": AUDIENCE, "sub": "users/ann", "exp": time.time() + 60, "permissions": ["VIEW"]}
    assert KEY.caller(jwt.encode(claims, b"k" * 32, ALGORITHM)).principal == "users/ann"
    for forged in (
        jwt.encode(claims, b"x" * 32, ALGORITHM),
        jwt.encode(claims, "", "none"),
        jwt.encode({**claims, "aud": "other"}, b"k" * 32, ALGORITHM),
    ):
        with pytest.raises(Unauthenticated):
            KEY.caller(forged)


def test_a_token_runs_out_though_it_was_checked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    token = KEY.sign(LABELER, seconds=60)
    assert KEY.caller(token) == LABELER
    late = time.time() + 60 + access_token.LEEWAY_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: late)
    with pytest.raises(Unauthenticated, match="run out"):
        KEY.caller(token)


def test_a_permission_of_a_newer_version_means_nothing() -> None:
    claims = {"aud": AUDIENCE, "sub": "users/ann", "exp": time.time() + 60, "permissions": ["VIEW", "FLY"]}
    assert KEY.caller(jwt.encode(claims, b"k" * 32, ALGORITHM)).permissions == {"VIEW"}


def test_a_scope_narrows_and_never_widens() -> None:
    assert user().caller(frozenset({"VIEW"})).permissions == {"VIEW", "SIGNED_IN"}
    assert user().caller(frozenset({"VIEW", "DEPLOY"})).permissions == {"VIEW", "SIGNED_IN"}
    assert user().caller().permissions == ROLE_PERMISSIONS[Role.LABELER]


def test_a_disabled_user_is_nobody() -> None:
    with pytest.raises(Unauthenticated, match="disabled"):
        user(disabled=True).caller()


def test_nobody_makes_a_token_that_may_more_than_the_call() -> None:
    narrow = Caller("users/ann", frozenset({"VIEW", "SIGNED_IN"}))
    check_scopes(frozenset({"VIEW"}), user(), narrow)
    with pytest.raises(TokenExceedsCaller, match="LABEL"):
        check_scopes(frozenset({"VIEW", "LABEL"}), user(), narrow)
    with pytest.raises(TokenExceedsCaller):
        check_scopes(frozenset(), user(), narrow)
    with pytest.raises(InvalidInput, match="DEPLOY"):
        check_scopes(frozenset({"DEPLOY"}), user(), INSTALLATION)


def test_internal_calls_are_nobodys_but_labelings() -> None:
    having = {service for service, permissions in SERVICE_PERMISSIONS.items() if "INTERNAL_CALL" in permissions}
    assert having == {"labeling"}
    assert not any("INTERNAL_CALL" in permissions for permissions in ROLE_PERMISSIONS.values())
    with pytest.raises(Forbidden, match="INTERNAL_CALL"):
        INSTALLATION.require("INTERNAL_CALL")


def test_a_token_opens_until_its_end() -> None:
    token = Token("tk-1", "ann", "", frozenset(), digest_of("secret"), AT, AT + timedelta(days=1), None)
    assert token.opens("secret", AT)
    assert not token.opens("Secret", AT)
    assert not token.opens("secret", AT + timedelta(days=1))
    assert dataclasses.replace(token, expire_time=None).opens("secret", AT + timedelta(days=999))
    assert "secret" not in repr(token)


def test_guessing_is_slowed_down_and_knowing_is_not() -> None:
    now = 0.0
    throttle = Throttle(clock=lambda: now)
    # Five at once, none of them judged yet: the sixth has to wait.
    for _ in range(FREE_TRIES):
        throttle.begin("ann")
    with pytest.raises(SignInBlocked):
        throttle.begin("ann")
    throttle.begin("bob")
    now = 2.0
    throttle.begin("ann")
    now = 5.9
    with pytest.raises(SignInBlocked):
        throttle.begin("ann")
    now = 6.0
    throttle.begin("ann")
    for _ in range(20):
        now += MAX_WAIT_SECONDS
        throttle.begin("ann")
    throttle.forgive("ann")
    for _ in range(FREE_TRIES):
        throttle.begin("ann")


async def test_more_passwords_than_can_wait_are_turned_away() -> None:
    passwords = Passwords()
    passwords._slots = asyncio.Semaphore(0)
    waiting = [asyncio.create_task(passwords.hash("a horse on a bicycle")) for _ in range(32)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await passwords.hash("a horse on a bicycle")
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


@pytest.mark.parametrize(
    ("request_", "resource"),
    [
        (dataset_service_pb2.GetDatasetRequest(name="projects/default/datasets/a"), "projects/default/datasets/a"),
        (dataset_service_pb2.CreateDatasetRequest(parent="projects/default", dataset_id="a"), "projects/default/datasets/a"),
        (dataset_service_pb2.CreateDatasetRequest(parent="projects/default"), "projects/default"),
        (dataset_service_pb2.ListDatasetsRequest(parent="projects/default"), "projects/default"),
        (
            dataset_service_pb2.UpdateDatasetRequest(dataset=dataset_pb2.Dataset(name="projects/default/datasets/b")),
            "projects/default/datasets/b",
        ),
        (dataset_service_pb2.GetDatasetRequest(name="x" * 999), "x" * 400),
        (iter([]), ""),
    ],
)
def test_what_a_request_is_about(request_: object, resource: str) -> None:
    assert resource_of(request_) == resource


def test_there_is_one_project() -> None:
    for name in ("projects/default", "projects/default/datasets/a", "users/ann", ""):
        check_project(name)
    for name in ("projects/other", "projects/other/datasets/a", "projects/"):
        with pytest.raises(NotFound):
            check_project(name)


async def test_passwords_are_kept_as_argon2id_and_fit_only_themselves() -> None:
    passwords = Passwords()
    kept = await passwords.hash("a horse on a bicycle")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await passwords.fits("a horse on a bicycle", kept)
    for wrong, against in (("A horse on a bicycle", kept), ("a horse on a bicycle", ""), ("", ""), ("x", "not a hash")):
        assert not await passwords.fits(wrong, against)
