"""Metrics: what the plumbing of every process counts. ``metrics_door`` shows it.

Names follow Prometheus: base units, ``_total`` for what only grows. Labels have few values: methods, codes, consumers, deployments; never
the id of an image, a page or a request. What a service knows beside this it defines in its own room; ``docs/observability.md`` lists all.
"""

from prometheus_client import Counter, Gauge, Histogram

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

GRPC_HANDLED = Counter("inkwright_grpc_server_handled_total", "Calls answered.", ["method", "code"])
GRPC_SECONDS = Histogram("inkwright_grpc_server_seconds", "From the arrival of a call to its end.", ["method"], buckets=SECONDS_BUCKETS)
GRPC_IN_FLIGHT = Gauge("inkwright_grpc_server_in_flight", "Calls being answered now.", ["method"])
FACTS = Counter("inkwright_consumer_facts_total", "Deliveries of facts, by how they ended.", ["durable", "outcome"])
FACT_SECONDS = Histogram("inkwright_consumer_seconds", "Handling one delivery of a fact.", ["durable"], buckets=SECONDS_BUCKETS)
JOBS = Counter("inkwright_jobs_total", "Jobs of work queues, by how they ended here.", ["queue", "outcome"])
OUTBOX_PUBLISHED = Counter("inkwright_outbox_published_total", "Messages that the relay carried to the bus.")
OUTBOX_FAILURES = Counter("inkwright_outbox_failures_total", "Times that the relay had to wait for the bus or the database.")
OUTBOX_WAITING = Gauge("inkwright_outbox_waiting", "Messages that are committed and not on the bus yet.")
OUTBOX_OLDEST = Gauge("inkwright_outbox_oldest_seconds", "Age of the oldest of them.")
LOST_RACES = Counter("inkwright_database_lost_races_total", "Units of work that ended with CONFLICT.")
CONNECTIONS = Gauge("inkwright_database_connections", "Connections of the pool.", ["state"])
BUS_CONNECTED = Gauge("inkwright_bus_connected", "1 while the connection to NATS stands.")
PROBE_FAILURES = Counter(
    "inkwright_metrics_probe_failures_total", "Looks at a database or the bus that failed in a scrape; their gauges are stale.", ["probe"]
)
