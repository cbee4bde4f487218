"""What the gateway counts, and its looks at the bus and at the instances it knows."""

from collections import Counter as Tally
from collections.abc import Mapping
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from gateway.public.routing import RoutingTable
from libs.runtime.bus import Bus
from libs.runtime.bus_state import BusState
from libs.runtime.metrics import SECONDS_BUCKETS
from libs.runtime.metrics_door import Probe
from libs.runtime.probes import bus_probe

HTTP_REQUESTS = Counter("inkwright_http_requests_total", "Requests answered; 0 is a caller that left.", ["template", "method", "status"])
HTTP_SECONDS = Histogram(
    "inkwright_http_seconds", "From the arrival of a request to its last byte.", ["template", "method"], buckets=SECONDS_BUCKETS
)
HTTP_IN_FLIGHT = Gauge("inkwright_http_in_flight", "Requests being answered now, event streams included.")
EVENT_STREAMS = Gauge("inkwright_event_streams", "Event streams that are open.")
PREDICT_ELEMENTS = Counter(
    "inkwright_predict_elements_total",
    "Elements of predict requests, by the public API's errorCode; 0 is one that was read.",
    ["deployment", "code"],
)
READY = Gauge("inkwright_gateway_instances", "Instances that the gateway would send to, as it heard.", ["deployment"])
OUTSTANDING = Gauge("inkwright_gateway_outstanding", "Images sent to instances and not answered yet.", ["deployment"])
DEAD_LETTERS = Gauge("inkwright_dead_letters", "Messages that their consumers gave up on.")
QUEUE_JOBS = Gauge("inkwright_queue_jobs", "Jobs of a work queue that nobody has finished.", ["stream"])
CONSUMER_WAITING = Gauge("inkwright_consumer_waiting", "Facts and jobs that wait for a durable consumer.", ["durable"])
STREAM_BYTES = Gauge("inkwright_stream_bytes", "Size of a stream on the bus.", ["stream"])

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def known_method(method: str) -> str:
    """An HTTP method as a label: a caller may invent any number of others."""
    return method if method in _METHODS else "other"


def gateway_probes(bus: Bus, table: RoutingTable) -> Mapping[str, Probe]:
    """Brings the gauges up to date."""

    async def routing() -> None:
        READY.clear()
        OUTSTANDING.clear()
        for deployment, load in table.loads().items():
            READY.labels(deployment).set(load.num_ready)
            OUTSTANDING.labels(deployment).set(load.num_outstanding)

    async def streams() -> None:
        state = await BusState.read(bus)
        waiting: Tally[str] = Tally()
        for consumer in state.consumers:
            waiting[consumer.durable] += consumer.num_waiting
        CONSUMER_WAITING.clear()
        for durable, count in waiting.items():
            CONSUMER_WAITING.labels(durable).set(count)
        for stream in state.streams:
            STREAM_BYTES.labels(stream.name).set(stream.size_bytes)
            if stream.is_work_queue:
                QUEUE_JOBS.labels(stream.name).set(stream.num_messages)
        DEAD_LETTERS.set(state.num_dead_letters)

    return {"bus": bus_probe(bus), "routing": routing, "streams": streams}
