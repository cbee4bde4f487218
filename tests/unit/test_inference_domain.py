"""States of deployments, quotas, restarts, tokens."""

import base64
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.runtime.errors import Conflict, InvalidInput, WrongState
from services.inference.actions import SUGGESTION_PREFIX
from services.inference.domain import (
    DeployableModel,
    Deployment,
    ModelRetired,
    Observed,
    Purpose,
    Reason,
    State,
    Trouble,
    check_deployable,
)
from services.inference.instances import MAX_QUICK_DEATHS, Restarts
from services.inference.quota import CATALOGUE, MAX_INSTANCES, Capacity, Demand, Quota, QuotaExceeded, ResourceTypeUnknown, resource_type
from services.inference.settings import host_cores
from services.inference.suggestions import suggestion_id
from services.inference.tokens import TOKEN_LENGTH, new_deployment_token

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def deployment(state: State = State.CREATING, *, num_instances: int = 2, purpose: Purpose = Purpose.PUBLIC) -> Deployment:
    return Deployment(
        name="projects/default/deployments/cards",
        model="projects/default/models/m",
        bundle_digest="a" * 64,
        resource_type="cpu-1",
        num_instances=num_instances,
        quota=Quota(1, 1024),
        state=state,
        reason=Reason.INSTANCES_STARTING,
        message="",
        purpose=purpose,
        encrypted_token=b"x",
        create_time=NOW,
        update_time=NOW,
    )


TROUBLES = st.sampled_from(
    [None, Trouble(Reason.CRASH_LOOP, "it died"), Trouble(Reason.MODEL_UNAVAILABLE, "nobody answers", lasting=False)]
)
OBSERVED = st.builds(
    Observed,
    num_ready=st.integers(0, 4),
    num_others=st.integers(0, 4),
    warm_up_error=st.sampled_from(["", "no"]),
    trouble=TROUBLES,
)
VERBS = st.one_of(
    st.tuples(st.just("scale"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["stop", "start", "delete", "idle", "bundle"]), st.just(0)),
    st.tuples(st.just("observe"), OBSERVED),
)


@given(st.lists(VERBS, max_size=25))
def test_any_sequence_of_verbs_and_sights_keeps_the_rules(steps: list[tuple[str, object]]) -> None:
    now = deployment()
    for verb, value in steps:
        before = now
        try:
            match verb:
                case "scale":
                    assert isinstance(value, int)
                    now = now.scale(value, at=LATER)
                case "observe":
                    assert isinstance(value, Observed)
                    now = now.observe(value, at=LATER)
                case "bundle":
                    now = now.use_bundle("b" * 64, at=LATER)
                case "idle":
                    now = now.stop(at=LATER, idle=True)
                case "stop":
                    now = now.stop(at=LATER)
                case "start":
                    now = now.start(at=LATER)
                case "delete":
                    now = now.delete(at=LATER)
        except WrongState:
            assert before.is_deleting
            continue
        assert (now.revision > before.revision) == (now != before), "a change and a new etag go together"
        assert (now.etag != before.etag) == (now != before)
        assert (now.wanted_instances == 0) == (now.state in (State.STOPPED, State.DELETING, State.DELETE_FAILED))
        assert not before.is_deleting or now.is_deleting, "nothing comes back from deletion"
        if verb == "observe" and isinstance(value, Observed) and now.wanted_instances:
            complete = value.num_ready == now.num_instances and value.num_others == 0
            assert (now.state is State.RUNNING) == complete, "running means all wanted instances and no other"


def test_way_of_a_deployment_through_a_good_life() -> None:
    new = deployment()
    running = new.observe(Observed(num_ready=2), at=LATER)
    assert (running.state, running.reason) == (State.RUNNING, Reason.READY)
    assert running.observe(Observed(num_ready=2), at=LATER) is running
    one_died = running.observe(Observed(num_ready=1, num_others=1), at=LATER)
    assert (one_died.state, one_died.reason) == (State.SCALING, Reason.INSTANCES_RESTARTING)
    all_died = running.observe(Observed(num_others=2), at=LATER)
    assert all_died.state is State.CREATING
    growing = running.scale(3, at=LATER)
    assert (growing.state, growing.reason) == (State.SCALING, Reason.INSTANCES_CHANGING)
    assert growing.observe(Observed(num_ready=2, num_others=1), at=LATER).reason is Reason.INSTANCES_CHANGING
    updating = running.use_bundle("b" * 64, at=LATER)
    assert updating.observe(Observed(num_ready=1, num_others=1), at=LATER).state is State.UPDATING
    assert updating.observe(Observed(num_ready=2), at=LATER).state is State.RUNNING


def test_failed_deployment_recovers_only_when_all_instances_are_ready() -> None:
    failed = deployment().observe(Observed(trouble=Trouble(Reason.CRASH_LOOP, "last words")), at=LATER)
    assert (failed.state, failed.reason, failed.message) == (State.FAILED, Reason.CRASH_LOOP, "last words")
    assert failed.observe(Observed(num_others=2), at=LATER) is failed
    assert failed.observe(Observed(num_ready=2), at=LATER).state is State.RUNNING
    assert failed.start(at=LATER).state is State.CREATING


def test_passing_trouble_is_told_but_does_not_fail() -> None:
    waiting = deployment().observe(Observed(trouble=Trouble(Reason.MODEL_UNAVAILABLE, "nobody answers", lasting=False)), at=LATER)
    assert (waiting.state, waiting.reason, waiting.message) == (State.CREATING, Reason.MODEL_UNAVAILABLE, "nobody answers")


def test_warm_up_error_is_told_by_a_running_deployment() -> None:
    running = deployment().observe(Observed(num_ready=2, warm_up_error="bad shape"), at=LATER)
    assert (running.state, running.reason) == (State.RUNNING, Reason.WARM_UP_FAILED)
    assert "bad shape" in running.message


def test_stale_etag_is_refused_and_deleting_twice_is_fine() -> None:
    new = deployment()
    changed = new.stop(at=LATER)
    with pytest.raises(Conflict):
        changed.delete(at=LATER, etag=new.etag)
    gone = changed.delete(at=LATER, etag=changed.etag)
    assert gone.delete(at=LATER) is gone
    stuck = gone.clean_up_failed("its instances do not end", at=LATER)
    assert stuck.state is State.DELETE_FAILED
    assert stuck.clean_up_failed("its instances do not end", at=LATER) is stuck
    assert replace(new, create_time=LATER).etag != new.etag


def test_only_suggestion_deployments_become_idle() -> None:
    assert not deployment().is_idle(at=NOW + timedelta(days=1), idle_seconds=1)
    hidden = deployment(State.RUNNING, purpose=Purpose.SUGGESTION).used(at=NOW)
    assert not hidden.is_idle(at=NOW + timedelta(seconds=59), idle_seconds=60)
    assert hidden.is_idle(at=NOW + timedelta(seconds=60), idle_seconds=60)
    assert not hidden.is_idle(at=NOW - timedelta(seconds=59), idle_seconds=60)
    assert hidden.is_idle(at=NOW - timedelta(hours=5), idle_seconds=60), "its use lies in the future: the clock was set back"
    assert not hidden.stop(at=NOW, idle=True).is_idle(at=LATER, idle_seconds=1)


def test_retired_model_cannot_be_deployed() -> None:
    assert check_deployable(DeployableModel("projects/default/models/m", "a")).bundle_digest == "a"
    with pytest.raises(ModelRetired):
        check_deployable(DeployableModel("projects/default/models/m", "a", retired=True))


@given(st.text("abcdefghij-", min_size=1, max_size=100), st.text("abcdefghij-", min_size=1, max_size=100))
def test_suggestion_ids_fit_and_differ(one: str, other: str) -> None:
    first, second = suggestion_id(one), suggestion_id(other)
    assert first.startswith(SUGGESTION_PREFIX)
    assert len(first) <= 30
    assert (first == second) == (one == other)


def test_tokens_have_the_published_shape() -> None:
    token = new_deployment_token()
    assert len(token) == TOKEN_LENGTH == 56
    inner = base64.b64decode(token, validate=True).decode()
    assert len(bytes.fromhex(inner)) == 20
    assert token != new_deployment_token()


@given(st.lists(st.floats(0, 9.9), min_size=1, max_size=40))
def test_quick_deaths_are_delayed_more_and_more_and_become_a_crash_loop(lives: list[float]) -> None:
    restarts, last_delay = Restarts(0.5), 0.0
    for number, lived in enumerate(lives, start=1):
        restarts = restarts.died(ready_seconds=lived, now=100.0)
        delay = restarts.not_before - 100.0
        assert last_delay <= delay <= 30.0
        assert restarts.is_crash_loop == (number >= MAX_QUICK_DEATHS)
        last_delay = delay
    proven = restarts.died(ready_seconds=60.0, now=100.0)
    assert (proven.num_quick_deaths, proven.not_before) == (0, 100.5)


DEMANDS = st.builds(Demand, st.builds(Quota, st.floats(0.1, 8), st.integers(1, 4096), st.just(0)), st.integers(0, 20))


@given(DEMANDS, st.lists(DEMANDS, max_size=4))
def test_what_fits_is_what_is_free(wanted: Demand, others: list[Demand]) -> None:
    host = Capacity(cores=4, memory_mb=16_000)
    num_instances = sum(other.num_instances for other in others) + wanted.num_instances
    memory_mb = sum(other.memory_mb for other in others) + wanted.memory_mb
    fits = wanted.quota.cores <= 4 and memory_mb <= 16_000 and num_instances <= MAX_INSTANCES
    if fits:
        host.check(wanted, others)
        assert wanted.num_instances == 0 or host.num_available(wanted.quota, others) >= wanted.num_instances
        return
    with pytest.raises(QuotaExceeded) as refused:
        host.check(wanted, others)
    said = refused.value
    assert {"asked", "free", "what"} <= said.metadata.keys()
    assert said.metadata["asked"] in said.message
    assert said.metadata["free"] in said.message


def test_catalogue_fills_what_a_caller_left_out() -> None:
    assert resource_type("") is CATALOGUE[0]
    assert resource_type("cpu-2").filled(Quota(0, 512)) == Quota(2, 512)
    with pytest.raises(ResourceTypeUnknown, match="cpu-4"):
        resource_type("huge")
    with pytest.raises(InvalidInput):
        Quota(float("nan"), 1)
    assert [Quota(cores, 1).num_threads for cores in (0.25, 1, 1.9, 4)] == [1, 1, 1, 4]


def test_cores_of_a_container_count_where_they_are_fewer(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    cores = host_cores(limit)
    assert cores == len(os.sched_getaffinity(0))
    limit.write_text("max 100000\n")
    assert host_cores(limit) == cores
    limit.write_text("50000 100000\n")
    assert host_cores(limit) == 1
    limit.write_text(f"{(cores + 1) * 100_000} 100000\n")
    assert host_cores(limit) == cores
