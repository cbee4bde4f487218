"""One instance as a child process."""

import sys
import time
from collections.abc import Callable

import orjson

from libs.runtime.child import Child
from libs.runtime.logs import get_logger
from libs.runtime.times import utc_now
from services.inference.instance.orders import Orders, Told, told_from_event
from services.inference.instances import InstanceState, InstanceView

log = get_logger()

NUM_LAST_LINES = 5
MAX_LINE_LENGTH = 600
# Beyond what it may take by itself: the moment of settling, and closing its connection.
_EXTRA_GRACE_SECONDS = 3.0


class InstanceProcess:
    """Starts an instance and follows it to its end.

    Args:
        orders: what it is told.
        wake: called whenever something about it has changed.
    """

    def __init__(self, orders: Orders, wake: Callable[[], None]) -> None:
        self.orders = orders
        self.start_time = utc_now()
        self._ready_since: float | None = None
        self._wake = wake
        self._child: Child | None = None
        self._told: Told | None = None
        self._draining = False
        self.ready_seconds = 0.0
        """How long it had been ready when it ended; a slow start proves nothing."""
        self.has_ended = False
        self.last_error = ""
        """Its last words; empty while it lives and after an end that was asked for."""

    @property
    def warm_up_error(self) -> str:
        """What its model said when it was warmed up; empty when all went well or it is not that far."""
        return self._told.warm_up_error if self._told else ""

    @property
    def state(self) -> InstanceState:
        """What it is like now."""
        if self.has_ended:
            return InstanceState.DOWN
        if self._draining:
            return InstanceState.DRAINING
        return InstanceState.READY if self._told else InstanceState.STARTING

    def view(self) -> InstanceView:
        """What callers are told of it."""
        told = self._told
        return InstanceView(
            instance_id=self.orders.instance_id,
            state=self.state,
            bundle_digest=self.orders.bundle_digest,
            start_time=self.start_time,
            endpoint=told.endpoint if told else "",
            engine=told.engine if told else "",
            num_in_flight=told.num_in_flight if told and not self.has_ended else 0,
            last_error=self.last_error,
            metrics_endpoint=told.metrics_endpoint if told else "",
        )

    async def run(self) -> None:
        """Live: from its start to its end."""
        name = f"instance-{self.orders.instance_id}"
        threads = str(self.orders.num_threads)
        try:
            self._child = await Child.start(
                # The id is there for people who look at the list of processes; the instance reads its orders.
                [sys.executable, "-m", "services.inference.instance", self.orders.instance_id],
                name=name,
                orders=self.orders.model_dump(mode="json"),
                env={"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": ":".join(filter(None, sys.path))},
                log_line=_pass_on,
            )
            if self._draining:
                await self._child.terminate(0)
            async for event in self._child.events():
                self._hear(event)
            ended = await self._child.wait()
            if not self._draining:
                self.last_error = "\n".join([*map(_readable, ended.stderr_tail[-NUM_LAST_LINES:]), f"ended: {ended}"])
        except OSError as error:
            self.last_error = f"it could not be started: {error}"
        if self._ready_since is not None:
            self.ready_seconds = time.monotonic() - self._ready_since
        self.has_ended = True
        log.info("instance_ended", instance_id=self.orders.instance_id, asked=self._draining, ready_seconds=round(self.ready_seconds, 3))
        self._wake()

    async def drain(self) -> None:
        """Have it finish what it holds, then end; killed when that takes too long."""
        self._draining = True
        self._wake()
        if self._child is not None:
            await self._child.terminate(self.orders.drain_seconds + _EXTRA_GRACE_SECONDS)

    async def end(self, grace_seconds: float) -> None:
        """End it within the grace, whatever it holds."""
        self._draining = True
        if self._child is not None:
            await self._child.terminate(grace_seconds)

    def _hear(self, event: dict[str, object]) -> None:
        try:
            self._told = told_from_event(event)
        except ValueError:
            log.warning("instance_said_something_else", instance_id=self.orders.instance_id)
            return
        self._ready_since = self._ready_since or time.monotonic()
        self._wake()


def _pass_on(line: str) -> None:
    # It logs in our form already; wrapping its lines in ours would hide their fields.
    sys.stderr.write(line + "\n")


def _readable(line: str) -> str:
    """A log line for a person: of a structured one its event and what it says about it."""
    try:
        fields = orjson.loads(line)
        said = fields.get("message") or fields.get("error") or fields.get("cause") or ""
        text = f"{fields['event']}: {said}" if said else str(fields["event"])
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        text = line
    return text[:MAX_LINE_LENGTH]
