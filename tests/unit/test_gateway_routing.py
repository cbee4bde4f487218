"""What the routing table remembers and forgets."""

from collections.abc import AsyncIterator

import pytest

from gateway.public.routing import LAPSED_SECONDS, Instance, RoutingTable
from inkwright.inference.v1 import instance_service_pb2
from libs.runtime.errors import NoReadyInstance, NotFound
from libs.runtime.key_value import KeyChange
from libs.runtime.secrets import InstallationKey
from tests.gateway_world import DEPLOYMENT_TOKEN, instance_entry, route_entry
from tests.trust import CREDENTIALS

KEY = InstallationKey(b"k" * 32)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def table(clock: Clock) -> AsyncIterator[RoutingTable]:
    table = RoutingTable(KEY, CREDENTIALS, clock=clock)
    yield table
    await table.close()


def register(table: RoutingTable, key: str, endpoint: str) -> None:
    deployment_id, _, instance_id = key.partition(".")
    table.on_instance(KeyChange(key, instance_entry(deployment_id, instance_id, endpoint)))


def all_of(table: RoutingTable, deployment_id: str) -> list[str]:
    tried: set[Instance] = set()
    while (instance := table.pick(deployment_id, tried)) is not None:
        tried.add(instance)
    return sorted(instance.key for instance in tried)


async def test_an_unknown_deployment_is_unknown_only_once_all_were_told(table: RoutingTable) -> None:
    with pytest.raises(NoReadyInstance):
        table.deployment("reader")
    table.on_deployment(None)
    with pytest.raises(NotFound):
        table.deployment("reader")


async def test_only_its_own_token_opens_a_deployment(table: RoutingTable) -> None:
    table.on_deployment(KeyChange("reader", route_entry(KEY, "reader")))
    deployment = table.deployment("reader")
    assert deployment.accepts(DEPLOYMENT_TOKEN)
    assert not any(deployment.accepts(token) for token in ("", DEPLOYMENT_TOKEN[:-1], DEPLOYMENT_TOKEN + "=", "wörng"))
    assert DEPLOYMENT_TOKEN not in repr(deployment)


async def test_a_token_of_another_installation_or_deployment_lets_nobody_in(table: RoutingTable) -> None:
    moved = instance_service_pb2.DeploymentRoute.FromString(route_entry(KEY, "other"))
    moved.deployment = "projects/default/deployments/reader"
    for entry in (route_entry(InstallationKey(b"x" * 32), "reader"), moved.SerializeToString()):
        table.on_deployment(KeyChange("reader", entry))
        assert not table.deployment("reader").accepts(DEPLOYMENT_TOKEN)


async def test_an_endpoint_belongs_to_whoever_registered_it_last(table: RoutingTable) -> None:
    register(table, "first.a", "127.0.0.1:1")
    register(table, "second.b", "127.0.0.1:1")
    assert (all_of(table, "first"), all_of(table, "second")) == ([], ["second.b"])


async def test_a_renewal_changes_nothing_and_a_move_replaces(table: RoutingTable) -> None:
    register(table, "reader.a", "127.0.0.1:1")
    first = table.pick("reader", ())
    register(table, "reader.a", "127.0.0.1:1")
    assert table.pick("reader", ()) is first
    register(table, "reader.a", "127.0.0.1:2")
    assert [table.pick("reader", ()) is first, all_of(table, "reader")] == [False, ["reader.a"]]


async def test_a_lapsed_instance_is_the_last_resort_for_a_while(table: RoutingTable, clock: Clock) -> None:
    register(table, "reader.a", "127.0.0.1:1")
    register(table, "reader.b", "127.0.0.1:2")
    table.on_instance(KeyChange("reader.a", None))
    picked = [table.pick("reader", ()) for _ in range(3)]
    assert [instance.key for instance in picked if instance] == ["reader.b"] * 3
    assert all_of(table, "reader") == ["reader.a", "reader.b"]
    clock.now += LAPSED_SECONDS + 1
    register(table, "reader.b", "127.0.0.1:2")
    assert all_of(table, "reader") == ["reader.b"]


async def test_a_lapsed_instance_that_takes_no_connection_is_forgotten(table: RoutingTable) -> None:
    register(table, "reader.a", "127.0.0.1:1")
    table.on_instance(KeyChange("reader.a", None))
    instance = table.pick("reader", ())
    assert instance is not None
    table.set_aside(instance)
    assert all_of(table, "reader") == []


async def test_one_set_aside_comes_back_with_its_next_registration(table: RoutingTable) -> None:
    register(table, "reader.a", "127.0.0.1:1")
    instance = table.pick("reader", ())
    assert instance is not None
    table.set_aside(instance)
    assert all_of(table, "reader") == []
    register(table, "reader.a", "127.0.0.1:1")
    assert all_of(table, "reader") == ["reader.a"]


async def test_deleting_a_deployment_forgets_its_instances(table: RoutingTable) -> None:
    table.on_deployment(KeyChange("reader", route_entry(KEY, "reader")))
    register(table, "reader.a", "127.0.0.1:1")
    register(table, "other.a", "127.0.0.1:2")
    table.on_deployment(KeyChange("reader", None))
    assert (all_of(table, "reader"), all_of(table, "other")) == ([], ["other.a"])
