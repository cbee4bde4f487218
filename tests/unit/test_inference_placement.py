"""Instances find a host, and move without a gap."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.inference.domain import Deployment, Observed, Purpose, Reason, State, Trouble
from services.inference.instances import InstanceState, InstanceView, Report
from services.inference.placement import SILENT_SECONDS, Assignment, HostView, SignsOfLife, observe, plan
from services.inference.quota import Capacity, Quota

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOSTS = [HostView(name, Capacity(2, 4096)) for name in ("a", "b", "c")]


def deployment(num_instances: int = 2, *, name: str = "cards", bundle: str = "new", memory_mb: int = 1024) -> Deployment:
    return Deployment(
        name=f"projects/default/deployments/{name}",
        model="projects/default/models/m",
        bundle_digest=bundle,
        resource_type="cpu-1",
        num_instances=num_instances,
        quota=Quota(1, memory_mb),
        state=State.RUNNING,
        reason=Reason.READY,
        message="",
        purpose=Purpose.PUBLIC,
        encrypted_token=b"x",
        create_time=NOW,
        update_time=NOW,
    )


def view(state: InstanceState, bundle: str) -> InstanceView:
    return InstanceView("in-1", state, bundle, NOW)


class World:
    """Hosts that do what they are told at once, but for starting, which takes until ``ready``."""

    def __init__(self, wanted: Deployment, hosts: list[HostView]) -> None:
        self.wanted = wanted
        self.hosts = hosts
        self.assignments: list[Assignment] = []
        self.num_made = 0

    def look(self) -> None:
        planned = plan(self.wanted, self.assignments, self.hosts)
        self.assignments = [each for each in self.assignments if each.assignment_id not in planned.leave]
        for host in planned.new:
            self.num_made += 1
            made = Assignment(
                f"{self.num_made:04d}", self.wanted.name, host, self.wanted.bundle_digest, self.wanted.quota, NOW, report=Report()
            )
            self.assignments.append(replace(made, create_time=NOW + timedelta(seconds=self.num_made)))

    def ready(self) -> None:
        """The oldest that starts is ready now."""
        for index, each in enumerate(self.assignments):
            if not each.is_ready:
                self.assignments[index] = replace(each, report=Report(view(InstanceState.READY, each.bundle_digest)))
                return

    def lose(self, name: str) -> None:
        self.hosts = [host for host in self.hosts if host.name != name]
        self.assignments = [each for each in self.assignments if each.host != name]

    def leave(self, name: str) -> None:
        self.hosts = [replace(host, is_leaving=True) if host.name == name else host for host in self.hosts]

    def settle(self) -> None:
        for _ in range(40):
            self.look()
            self.ready()
        self.look()

    @property
    def num_ready(self) -> int:
        return sum(each.is_ready for each in self.assignments)

    def at(self) -> list[str]:
        return sorted(each.host for each in self.assignments)


def test_instances_are_spread_and_go_where_there_is_room() -> None:
    world = World(deployment(3), HOSTS)
    world.look()
    assert world.at() == ["a", "b", "c"]
    world.wanted = deployment(4)
    world.look()
    assert len(world.at()) == 4
    # The fourth went to one of them; another deployment finds the others emptier.
    fourth = world.at()
    other = plan(deployment(2, name="other"), world.assignments, HOSTS)
    assert set(other.new) == {"a", "b", "c"} - {host for host in fourth if fourth.count(host) == 2}


def test_what_no_host_can_take_is_said() -> None:
    large = deployment(2, memory_mb=3000)
    world = World(large, HOSTS[:1])
    world.look()
    assert world.at() == ["a"]
    planned = plan(large, world.assignments, world.hosts)
    assert planned.has_no_room
    trouble = observe(large, world.assignments, has_no_room=True).trouble
    assert trouble is not None
    assert (trouble.reason, trouble.lasting) == (Reason.NO_ROOM, False)
    assert "3000 MB" in trouble.message


def test_another_bundle_comes_one_by_one_and_none_is_missing_meanwhile() -> None:
    world = World(deployment(3, bundle="old"), HOSTS)
    world.settle()
    world.wanted = deployment(3)
    for _ in range(20):
        world.look()
        assert world.num_ready >= 3
        assert len(world.assignments) <= 4
        world.ready()
    world.look()
    assert [each.bundle_digest for each in world.assignments] == ["new"] * 3


def test_where_two_find_no_room_the_old_bundle_goes_first() -> None:
    world = World(deployment(1, bundle="old", memory_mb=3000), HOSTS[:1])
    world.settle()
    world.wanted = deployment(1, memory_mb=3000)
    world.look()
    assert world.assignments == []
    world.settle()
    assert [each.bundle_digest for each in world.assignments] == ["new"]


def test_a_host_that_leaves_is_relieved_before_it_goes() -> None:
    world = World(deployment(2), HOSTS[:1])
    world.settle()
    world.hosts = HOSTS
    world.look()
    assert world.at() == ["a", "a"], "a new host takes nothing away"
    world.leave("a")
    for _ in range(10):
        world.look()
        assert world.num_ready >= 2
        world.ready()
    world.look()
    assert world.at() == ["b", "c"]


def test_the_last_host_keeps_what_it_has() -> None:
    world = World(deployment(2), HOSTS[:1])
    world.settle()
    world.leave("a")
    world.look()
    assert world.at() == ["a", "a"]
    assert plan(world.wanted, world.assignments, world.hosts).has_no_room


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["lose", "leave"]), st.sampled_from(["a", "b"])),
        st.tuples(st.just("scale"), st.integers(0, 4)),
        st.tuples(st.just("bundle"), st.sampled_from(["x", "y"])),
        st.tuples(st.sampled_from(["look", "ready"]), st.just("")),
    ),
    max_size=30,
)


@given(EVENTS)
def test_whatever_happens_it_settles_at_what_is_wanted(events: list[tuple[str, object]]) -> None:
    world = World(deployment(2), HOSTS)
    for what, value in events:
        before = world.num_ready
        match what, value:
            case "lose", str(name):
                world.lose(name)
            case "leave", str(name):
                world.leave(name)
            case "scale", int(number):
                world.wanted = replace(world.wanted, num_instances=number)
            case "bundle", str(digest):
                world.wanted = replace(world.wanted, bundle_digest=digest)
            case "ready", _:
                world.ready()
            case _:
                world.look()
                assert world.num_ready >= min(before, world.wanted.num_instances), "room for all: none is taken away early"
    world.settle()
    staying = {host.name for host in world.hosts if not host.is_leaving}
    assert len(world.assignments) == world.num_ready == world.wanted.num_instances
    assert {(each.host in staying, each.bundle_digest) for each in world.assignments} <= {(True, world.wanted.bundle_digest)}


def test_a_deployment_is_judged_by_the_instances_that_stay() -> None:
    wanted = deployment(2)

    def here(state: InstanceState | None, *, bundle: str = "new", is_leaving: bool = False, said: Trouble | None = None) -> Assignment:
        report = Report(view(state, bundle) if state else None, trouble=said)
        return Assignment("1", wanted.name, "a", bundle, wanted.quota, NOW, is_leaving, report)

    ready = here(InstanceState.READY)
    assert observe(wanted, [ready, ready], has_no_room=False) == Observed(num_ready=2)
    outgoing = here(InstanceState.READY, is_leaving=True)
    assert observe(wanted, [ready, ready, outgoing], has_no_room=False) == Observed(num_ready=2, num_others=1)
    assert observe(wanted, [ready, here(None)], has_no_room=False) == Observed(num_ready=1, num_others=1)
    died = Trouble(Reason.CRASH_LOOP, "last words")
    assert observe(wanted, [ready, here(None, said=died)], has_no_room=False).trouble == died
    assert observe(wanted, [ready, here(None, said=died, bundle="old")], has_no_room=False).trouble is None


def test_a_host_is_given_up_when_it_was_silent_while_this_one_looked() -> None:
    now = 100.0
    life = SignsOfLife(lambda: now)

    def silent(a: int, b: int) -> list[str]:
        return life.silent([replace(HOSTS[0], beat=a), replace(HOSTS[1], beat=b)])

    beat = 0
    assert silent(0, 0) == []
    while now < 100 + SILENT_SECONDS:
        now, beat = now + 2, beat + 1
        assert silent(beat, 0) == []
    now += 1
    assert silent(beat, 0) == ["b"]
    # Away for a while: nobody is given up for what was not seen.
    now += 100
    assert silent(beat, 0) == []
    # A lower beat is that of a new process.
    now += 2
    assert silent(0, 1) == []
