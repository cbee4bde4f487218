"""What an instance counts beside its calls."""

from prometheus_client import Gauge, Histogram

from libs.runtime.metrics import SECONDS_BUCKETS

IN_FLIGHT = Gauge("inkwright_instance_in_flight", "Images in work or waiting for their turn.")
STAGE_SECONDS = Histogram("inkwright_instance_stage_seconds", "Where the time of an image went.", ["stage"], buckets=SECONDS_BUCKETS)
