"""What of a status is called a problem."""

from collections.abc import Callable

import pytest

from gateway.console.diagnosis import problems_of
from inkwright.gateway.v1 import status_pb2

Change = Callable[[status_pb2.Status], None]


def healthy() -> status_pb2.Status:
    """Everything runs."""
    services = [
        status_pb2.ServiceStatus(service=name, address="127.0.0.1:1", is_reachable=True, is_ready=True, version="1.0")
        for name in ("gateway", "dataset", "trainer")
    ]
    consumer = status_pb2.ConsumerStatus(durable="labeling-images", stream="EVT_DATASET", num_waiting=3, num_in_hand=1)
    worker = status_pb2.ConsumerStatus(durable="jobs-train-cpu", stream="JOBS_TRAIN", num_in_hand=1, num_tried_again=1)
    return status_pb2.Status(
        services=services,
        bus=status_pb2.BusStatus(is_connected=True, consumers=[consumer, worker]),
        deployments=[status_pb2.DeploymentStatus(name="projects/default/deployments/reader", state="SCALING")],
        disk=status_pb2.DiskStatus(path="/home", free_bytes=5 * 2**30),
    )


def test_a_healthy_installation_has_none() -> None:
    assert problems_of(healthy()) == []


def _away(status: status_pb2.Status) -> None:
    status.services[1].is_reachable = status.services[1].is_ready = False


def _not_ready(status: status_pb2.Status) -> None:
    status.services[1].is_ready = False


def _older(status: status_pb2.Status) -> None:
    status.services[1].version = "0.9"


def _clock(status: status_pb2.Status) -> None:
    status.services[2].clock_offset_seconds = -7.5


def _bus(status: status_pb2.Status) -> None:
    status.bus.is_connected = False


def _letters(status: status_pb2.Status) -> None:
    status.bus.num_dead_letters = 2


def _again(status: status_pb2.Status) -> None:
    status.bus.consumers[0].num_tried_again = 1


def _behind(status: status_pb2.Status) -> None:
    status.bus.consumers[0].num_waiting = 5000


def _failed(status: status_pb2.Status) -> None:
    status.deployments[0].state, status.deployments[0].message = "FAILED", "An instance died 5 times."


def _disk(status: status_pb2.Status) -> None:
    status.disk.free_bytes = 100 * 2**20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_away, "dataset does not answer at 127.0.0.1:1"),
        (_not_ready, "dataset takes no new work"),
        (_older, "dataset runs version 0.9, the gateway 1.0"),
        (_clock, "trainer is -7.5 s off"),
        (_bus, "The bus does not answer"),
        (_letters, "2 messages were given up on"),
        (_again, "labeling-images fails on a fact"),
        (_behind, "labeling-images has 5000 messages before it"),
        (_failed, "Deployment reader is FAILED: An instance died 5 times."),
        (_disk, "Only 100 MiB are free where /home lies"),
    ],
)
def test_each_trouble_is_one_sentence(change: Change, words: str) -> None:
    status = healthy()
    change(status)
    [problem] = problems_of(status)
    assert words in problem
