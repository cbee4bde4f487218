"""Users, sessions, tokens and the audit log over HTTP, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from gateway.identity import actions, passwords
from gateway.identity.domain import SESSION_LIFE, SESSION_REST
from gateway.identity.doorkeeper import COOKIE
from gateway.identity.hearing import HEARINGS
from gateway.rows import METADATA
from inkwright.common.v1 import audit_pb2
from libs.runtime.errors import Unauthenticated
from libs.runtime.hearing import Heard
from libs.runtime.inbox import AlreadyHeard
from libs.runtime.times import utc_now
from tests.gateway_world import DATASETS, World, gateway_world
from tests.integration.conftest import Databases
from tests.trust import TRUST

PASSWORD = "a horse on a bicycle"
ANONYMOUS = {"Authorization": ""}


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """How slowly a password is hashed is no matter of these tests; each would hash a dozen."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", quick)
    monkeypatch.setattr(passwords, "_NOBODY", quick.hash("nobody has this password"))


@pytest.fixture
async def world(tmp_path: Path, databases: Databases) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as found:
        yield found


async def made(world: World, name: str, role: str = "LABELER", *, password: str = PASSWORD, kind: str = "PERSON") -> dict[str, Any]:
    """A new user, with a password where there is one."""
    answer = await world.http.post("/v1/users", params={"userId": name}, json={"role": role, "kind": kind})
    assert answer.status_code == 200, answer.text
    if kind == "PERSON":
        (await world.http.post(f"/v1/users/{name}:setPassword", json={"password": password})).raise_for_status()
    user: dict[str, Any] = answer.json()
    return user


async def signed_in(world: World, name: str, password: str = PASSWORD) -> dict[str, str]:
    """Headers of a browser that has signed in."""
    answer = await world.http.post("/v1/session", json={"user": name, "password": password}, headers=ANONYMOUS)
    assert answer.status_code == 200, answer.text
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    world.http.cookies.clear()
    return {"Authorization": "", "Cookie": cookie.partition(";")[0]}


async def token(world: World, name: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    """Make a token."""
    return await world.http.post(f"/v1/users/{name}/tokens", json=fields, headers=headers)


def bearer(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['secret']}"}


async def status(world: World, headers: dict[str, str], path: str = DATASETS + "/receipts", method: str = "GET") -> int:
    return (await world.http.request(method, path, headers=headers)).status_code


async def test_a_user_is_made_changed_and_deleted(world: World) -> None:
    user = await made(world, "ann")
    assert (user["name"], user["role"], user["kind"], user["disabled"]) == ("users/ann", "LABELER", "PERSON", False)
    again = await world.http.post("/v1/users", params={"userId": "ann"}, json={"role": "VIEWER"})
    assert (again.status_code, again.json()["error"]["reason"]) == (409, "ALREADY_EXISTS")
    stale = {"role": "DEPLOYER", "etag": "999"}
    assert (await world.http.patch("/v1/users/ann", json=stale)).json()["error"]["reason"] == "CONFLICT"
    changed = await world.http.patch("/v1/users/ann", json={"role": "DEPLOYER", "displayName": "Ann"})
    assert (changed.json()["role"], changed.json()["displayName"]) == ("DEPLOYER", "Ann")
    assert "password" not in changed.text.lower()
    await made(world, "bob", "VIEWER")
    listed = await world.http.get("/v1/users", params={"pageSize": 1})
    assert [one["name"] for one in listed.json()["users"]] == ["users/ann"]
    rest = await world.http.get("/v1/users", params={"pageSize": 1, "pageToken": listed.json()["nextPageToken"]})
    assert [one["name"] for one in rest.json()["users"]] == ["users/bob"]
    assert (await world.http.delete("/v1/users/ann")).status_code == 200
    assert (await world.http.get("/v1/users/ann")).status_code == 404


@pytest.mark.parametrize(
    ("user_id", "body", "reason"),
    [
        ("ann", {}, "INVALID_INPUT"),
        ("ann", {"role": "KING"}, "INVALID_INPUT"),
        ("an n", {"role": "VIEWER"}, "INVALID_NAME"),
        ("ann", {"role": "VIEWER", "displayName": "x" * 101}, "INVALID_INPUT"),
    ],
)
async def test_a_user_that_cannot_be_is_refused(world: World, user_id: str, body: dict[str, str], reason: str) -> None:
    answer = await world.http.post("/v1/users", params={"userId": user_id}, json=body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, reason)


async def test_a_person_signs_in_works_and_signs_out(world: World) -> None:
    await made(world, "ann")
    session = await signed_in(world, "ann")
    who = (await world.http.get("/v1/caller", headers=session)).json()
    assert (who["principal"], who["permissions"]) == ("users/ann", ["VIEW", "LABEL", "SIGNED_IN"])
    assert await status(world, session) == 404
    assert await status(world, session, DATASETS, "POST") == 403
    assert (await world.http.delete("/v1/session", headers=session)).status_code == 200
    assert await status(world, session) == 401


async def test_the_wrong_name_and_the_wrong_password_look_alike(world: World) -> None:
    await made(world, "ann")
    await made(world, "robot", kind="SERVICE_ACCOUNT")
    answers = []
    for name, password in (("ann", "not the password"), ("nobody", PASSWORD), ("robot", ""), ("x\u0000", "y")):
        answer = await world.http.post("/v1/session", json={"user": name, "password": password}, headers=ANONYMOUS)
        answers.append((answer.status_code, answer.json()["error"]["reason"], answer.json()["error"]["message"]))
    assert set(answers[:3]) == {(401, "WRONG_PASSWORD", "The name or the password is not right.")}
    assert answers[3][0] in (400, 401)


async def test_guessing_ends_with_429_even_for_the_right_password(world: World) -> None:
    await made(world, "ann")
    body = {"user": "ann", "password": "wrong"}
    guesses = await asyncio.gather(*(world.http.post("/v1/session", json=body, headers=ANONYMOUS) for _ in range(12)))
    assert sorted(guess.status_code for guess in guesses) == [401] * 5 + [429] * 7
    right = await world.http.post("/v1/session", json={**body, "password": PASSWORD}, headers=ANONYMOUS)
    assert (right.status_code, right.json()["error"]["reason"]) == (429, "SIGN_IN_BLOCKED")


async def test_a_token_makes_neither_tokens_nor_a_first_password(world: World) -> None:
    (await world.http.post("/v1/users", params={"userId": "ann"}, json={"role": "ADMIN"})).raise_for_status()
    narrow = bearer(await token(world, "ann", scopes=["VIEW"]))
    first = await world.http.post("/v1/users/ann:setPassword", json={"password": PASSWORD}, headers=narrow)
    again = await token(world, "ann", narrow, scopes=["VIEW"])
    assert (first.status_code, again.status_code) == (403, 403)
    # An administrator's token may, but no more than itself.
    wide = bearer(await token(world, "ann", scopes=["VIEW", "ADMINISTER"]))
    assert (await token(world, "ann", wide, scopes=["VIEW"])).status_code == 200
    beyond = await token(world, "ann", wide, scopes=["TRAIN"])
    assert (beyond.status_code, beyond.json()["error"]["reason"]) == (403, "TOKEN_EXCEEDS_CALLER")


async def test_a_password_that_is_changed_meanwhile_opens_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await made(world, "ann")
    fits = passwords.Passwords.fits

    async def slowly(self: passwords.Passwords, password: str, kept: str) -> bool:
        found = await fits(self, password, kept)
        await world.http.post("/v1/users/ann:setPassword", json={"password": "another password"})
        return found

    monkeypatch.setattr(passwords.Passwords, "fits", slowly)
    answer = await world.http.post("/v1/session", json={"user": "ann", "password": PASSWORD}, headers=ANONYMOUS)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "WRONG_PASSWORD")


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"user": 1, "password": "x"}', '{"user": "a", "password": "b", "more": 1}', "{" * 9000])
async def test_a_sign_in_that_is_none_is_refused(world: World, body: str) -> None:
    answer = await world.http.post("/v1/session", content=body, headers=ANONYMOUS)
    assert answer.status_code in (400, 413)


async def test_another_sites_page_can_do_nothing_with_a_session(world: World) -> None:
    await made(world, "ann", "ADMIN")
    session = await signed_in(world, "ann")
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}):
        refused = await world.http.post("/v1/users", params={"userId": "eve"}, json={"role": "ADMIN"}, headers={**session, **foreign})
        assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "FORBIDDEN")
        assert await status(world, {**session, **foreign}) == 404
    ours = {**session, "Origin": "http://gateway", "Sec-Fetch-Site": "same-origin"}
    assert (await world.http.post("/v1/users", params={"userId": "eve"}, json={"role": "VIEWER"}, headers=ours)).status_code == 200


async def test_a_new_password_ends_the_sessions_and_needs_the_old_one(world: World) -> None:
    await made(world, "ann")
    session = await signed_in(world, "ann")
    path = "/v1/users/ann:setPassword"
    weak = await world.http.post(path, json={"password": "short", "oldPassword": PASSWORD}, headers=session)
    assert weak.json()["error"]["reason"] == "WEAK_PASSWORD"
    wrong = await world.http.post(path, json={"password": "another password", "oldPassword": "x"}, headers=session)
    assert wrong.json()["error"]["reason"] == "WRONG_PASSWORD"
    await made(world, "bob")
    others = await world.http.post("/v1/users/bob:setPassword", json={"password": "another password"}, headers=session)
    assert others.status_code == 403
    assert (await world.http.post(path, json={"password": "another password", "oldPassword": PASSWORD}, headers=session)).status_code == 200
    assert await status(world, session) == 401
    await signed_in(world, "ann", "another password")


async def test_a_session_ends_by_rest_and_by_age(world: World) -> None:
    await made(world, "ann")
    secret = (await signed_in(world, "ann"))["Cookie"].removeprefix(f"{COOKIE}=")
    database = world.work()._database
    began = utc_now()
    database.clock = lambda: began + SESSION_REST - timedelta(minutes=1)
    assert (await actions.caller_of_session(world.work, secret)).principal == "users/ann"
    database.clock = lambda: began + 2 * SESSION_REST - timedelta(minutes=2)
    await actions.caller_of_session(world.work, secret)
    database.clock = lambda: began + 4 * SESSION_REST
    with pytest.raises(Unauthenticated):
        await actions.caller_of_session(world.work, secret)
    database.clock = lambda: began + SESSION_LIFE + timedelta(days=1)
    async with world.work() as w:
        await w.forget(audit_days=3)
        await w.commit()
    async with world.work(read_only=True) as w:
        connection = await w.session.connection()
        for table in ("session", "audit_entry"):
            assert (await connection.execute(select(METADATA.tables[table]))).all() == []


async def test_a_token_does_what_it_is_for_until_it_is_withdrawn(world: World) -> None:
    await made(world, "robot", "TRAINER", kind="SERVICE_ACCOUNT")
    answer = await token(world, "robot", scopes=["VIEW"], description="nightly")
    headers = bearer(answer)
    assert await status(world, headers) == 404
    assert await status(world, headers, DATASETS, "POST") == 403
    (listed,) = (await world.http.get("/v1/users/robot/tokens")).json()["tokens"]
    assert (listed["description"], listed["scopes"]) == ("nightly", ["VIEW"])
    assert listed["useTime"]
    assert answer.json()["secret"] not in str(listed)
    assert (await world.http.delete(f"/v1/{listed['name']}")).status_code == 200
    assert await status(world, headers) == 401


async def test_a_disabled_user_is_out_at_once_and_back_when_enabled(world: World) -> None:
    await made(world, "ann")
    session, key = await signed_in(world, "ann"), bearer(await token(world, "ann"))
    assert [await status(world, session), await status(world, key)] == [404, 404]
    await world.http.patch("/v1/users/ann", json={"disabled": True})
    assert [await status(world, session), await status(world, key)] == [401, 401]
    await world.http.patch("/v1/users/ann", json={"disabled": False})
    assert [await status(world, session), await status(world, key)] == [404, 404]
    await world.http.patch("/v1/users/ann", json={"role": "VIEWER"})
    assert (await world.http.get("/v1/caller", headers=key)).json()["permissions"] == ["VIEW", "SIGNED_IN"]
    await world.http.delete("/v1/users/ann")
    assert [await status(world, session), await status(world, key)] == [401, 401]


async def test_ones_own_tokens_are_ones_own(world: World) -> None:
    await made(world, "ann")
    await made(world, "bob")
    session = await signed_in(world, "ann")
    bearer(await token(world, "ann", session, scopes=["VIEW"]))
    assert (await token(world, "bob", session)).status_code == 403
    assert (await world.http.get("/v1/users/bob/tokens", headers=session)).status_code == 403
    past = await token(world, "ann", session, expireTime="2020-01-01T00:00:00Z")
    assert (past.status_code, past.json()["error"]["reason"]) == (400, "INVALID_INPUT")


async def test_an_access_token_is_the_caller_and_no_more(world: World) -> None:
    await made(world, "ann")
    narrow = bearer(await token(world, "ann", scopes=["VIEW"]))
    given = await world.http.post("/v1/caller:createAccessToken", json={}, headers=narrow)
    caller = TRUST.key.caller(given.json()["accessToken"])
    assert (caller.principal, caller.permissions) == ("users/ann", frozenset({"VIEW", "SIGNED_IN"}))


async def test_the_audit_log_tells_who_did_what_and_who_tried(world: World) -> None:
    await made(world, "ann", "ADMIN")
    session = await signed_in(world, "ann")
    await world.http.post("/v1/session", json={"user": "ann", "password": "wrong"}, headers=ANONYMOUS)
    await world.http.post("/v1/users", params={"userId": "bob"}, json={"role": "VIEWER"}, headers={**session, "X-Request-Id": "r-1"})
    await world.http.get("/v1/users/bob", headers=session)
    entries = (await world.http.get("/v1/auditEntries")).json()["auditEntries"]
    told = [(one["principal"], one["method"].rpartition(".")[2], one["resource"], one["outcome"]) for one in entries]
    assert told == [
        ("users/ann", "CreateUser", "users/bob", "DONE"),
        ("users/ann", "SignIn", "users/ann", "REFUSED"),
        ("users/ann", "SignIn", "users/ann", "DONE"),
        ("installation", "SetPassword", "users/ann", "DONE"),
        ("installation", "CreateUser", "users/ann", "DONE"),
    ]
    assert (entries[0]["requestId"], entries[0]["permission"]) == ("r-1", "ADMINISTER")
    narrowed = await world.http.get("/v1/auditEntries", params={"resource": "users/ann", "principal": "installation", "pageSize": 1})
    assert [one["method"].rpartition(".")[2] for one in narrowed.json()["auditEntries"]] == ["SetPassword"]
    rest = {"resource": "users/ann", "principal": "installation", "pageSize": 1, "pageToken": narrowed.json()["nextPageToken"]}
    assert [one["method"].rpartition(".")[2] for one in (await world.http.get("/v1/auditEntries", params=rest)).json()["auditEntries"]] == [
        "CreateUser"
    ]


async def test_what_a_service_tells_is_written_down_once(world: World) -> None:
    fact = audit_pb2.ChangeMade(
        principal="users/ann", method="inkwright.dataset.v1.DatasetService.SyncDataset", resource="r", permission="TRAIN"
    )
    fact.time.FromDatetime(utc_now())
    heard = Heard(fact=fact, durable=HEARINGS[0].durable, message_id="m1", resource_id="change", num_tries=1)
    await HEARINGS[0].handle(heard, world.work)
    with pytest.raises(AlreadyHeard):
        await HEARINGS[0].handle(heard, world.work)
    entries = (await world.http.get("/v1/auditEntries", params={"principal": "users/ann"})).json()["auditEntries"]
    assert [(one["resource"], one["permission"]) for one in entries] == [("r", "TRAIN")]
