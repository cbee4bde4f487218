"""Messages say what the domain says."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from inkwright.inference.v1 import deployment_pb2
from libs.runtime.times import from_timestamp
from services.inference.convert import (
    change_to_proto,
    deployment_to_proto,
    quota_from_proto,
    quota_to_proto,
    resource_type_to_proto,
    route_to_proto,
)
from services.inference.domain import Deployment, Purpose, Reason, State
from services.inference.instances import InstanceState, InstanceView, Report
from services.inference.placement import Assignment
from services.inference.quota import CATALOGUE, Quota
from services.inference.routes import wanted_routes

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
QUOTAS = st.builds(Quota, st.floats(0, 1000), st.integers(0, 1 << 40), st.integers(0, 8))
VIEWS = st.builds(
    InstanceView,
    instance_id=st.text("abc0-", min_size=1),
    state=st.sampled_from(InstanceState),
    bundle_digest=st.text("0123456789abcdef"),
    start_time=MOMENTS,
    endpoint=st.text(),
    engine=st.text(),
    num_in_flight=st.integers(0, 1000),
    last_error=st.text(),
)
DEPLOYMENTS = st.builds(
    Deployment,
    name=st.from_regex(r"projects/default/deployments/[a-z0-9]{1,30}", fullmatch=True),
    model=st.text(),
    bundle_digest=st.text("0123456789abcdef"),
    resource_type=st.sampled_from([entry.type_id for entry in CATALOGUE]),
    num_instances=st.integers(1, 64),
    quota=QUOTAS,
    state=st.sampled_from(State),
    reason=st.sampled_from(Reason),
    message=st.text(),
    purpose=st.sampled_from(Purpose),
    encrypted_token=st.binary(min_size=1),
    create_time=MOMENTS,
    update_time=MOMENTS,
    revision=st.integers(1, 1000),
)


@given(QUOTAS)
def test_quota_round_trip(quota: Quota) -> None:
    assert quota_from_proto(quota_to_proto(quota)) == quota


@given(DEPLOYMENTS, st.lists(VIEWS, max_size=3))
def test_deployment_carries_every_field_but_the_token(deployment: Deployment, views: list[InstanceView]) -> None:
    assignments = [
        Assignment(str(number), name, "here", "a", deployment.quota, deployment.create_time, report=Report(view))
        for name in (deployment.name, f"{deployment.name}-other")
        for number, view in enumerate([None, *views])
    ]
    message = deployment_to_proto(deployment, assignments)
    assert (message.name, message.model, message.bundle_digest) == (deployment.name, deployment.model, deployment.bundle_digest)
    assert deployment_pb2.Deployment.State.Name(message.state) == deployment.state
    assert deployment_pb2.Deployment.Purpose.Name(message.purpose) == deployment.purpose
    assert (message.reason, message.message, message.etag) == (deployment.reason, deployment.message, deployment.etag)
    assert (message.resource_type, message.num_instances) == (deployment.resource_type, deployment.num_instances)
    assert quota_from_proto(message.quota) == deployment.quota
    assert message.predict_path == f"/api/predict/{deployment.name.rpartition('/')[2]}"
    assert (from_timestamp(message.create_time), from_timestamp(message.update_time)) == (deployment.create_time, deployment.update_time)
    for instance, view in zip(message.instances, views, strict=True):
        assert deployment_pb2.Instance.State.Name(instance.state) == view.state
        assert (instance.instance_id, instance.endpoint, instance.engine) == (view.instance_id, view.endpoint, view.engine)
        assert (instance.num_in_flight, instance.last_error) == (view.num_in_flight, view.last_error)
        assert (instance.bundle_digest, from_timestamp(instance.start_time)) == (view.bundle_digest, view.start_time)


@given(DEPLOYMENTS)
def test_routes_are_of_public_deployments_that_stay(deployment: Deployment) -> None:
    routes = wanted_routes([deployment])
    routed = deployment.purpose is Purpose.PUBLIC and deployment.state not in (State.DELETING, State.DELETE_FAILED)
    assert list(routes) == ([deployment.deployment_id] if routed else [])
    route = route_to_proto(deployment)
    assert (route.deployment, route.model, route.bundle_digest) == (deployment.name, deployment.model, deployment.bundle_digest)
    assert list(route.encrypted_tokens) == [deployment.encrypted_token]


@given(DEPLOYMENTS, st.booleans())
def test_fact_says_what_changed(deployment: Deployment, deleted: bool) -> None:
    fact = change_to_proto(deployment, deleted=deleted)
    assert (fact.deployment, fact.model, fact.deleted) == (deployment.name, deployment.model, deleted)
    assert deployment_pb2.Deployment.State.Name(fact.state) == deployment.state
    assert (fact.reason, fact.message) == (deployment.reason, deployment.message)


def test_every_word_of_the_domain_is_in_the_proto() -> None:
    assert {f"{state}" for state in State} == set(deployment_pb2.Deployment.State.keys()) - {"STATE_UNSPECIFIED"}
    assert {f"{state}" for state in InstanceState} == set(deployment_pb2.Instance.State.keys()) - {"STATE_UNSPECIFIED"}
    assert {f"{purpose}" for purpose in Purpose} == set(deployment_pb2.Deployment.Purpose.keys()) - {"PURPOSE_UNSPECIFIED"}
    message = resource_type_to_proto(CATALOGUE[1], num_available=3)
    assert (message.type_id, message.num_available, quota_from_proto(message.quota)) == ("cpu-2", 3, CATALOGUE[1].quota)
