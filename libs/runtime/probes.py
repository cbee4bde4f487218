"""Looks at the outbox, the connection pool and the bus, taken when metrics are asked for."""

from collections.abc import Mapping

from sqlalchemy import MetaData, func, select
from sqlalchemy.pool import QueuePool

from libs.runtime import metrics
from libs.runtime.bus import Bus
from libs.runtime.db import Database
from libs.runtime.metrics_door import Probe
from libs.runtime.tables import OUTBOX


def service_probes(database: Database, metadata: MetaData, bus: Bus) -> Mapping[str, Probe]:
    """What every service with a database shows."""

    async def outbox() -> None:
        table = metadata.tables[OUTBOX]
        waiting = select(func.count(), func.min(table.c.told_time)).where(table.c.published_time.is_(None))
        async with database.reading() as connection:
            count, oldest = (await connection.execute(waiting)).one()
        metrics.OUTBOX_WAITING.set(count)
        metrics.OUTBOX_OLDEST.set((database.clock() - oldest).total_seconds() if oldest else 0.0)

    async def pool() -> None:
        connections = database.engine.sync_engine.pool
        if isinstance(connections, QueuePool):
            metrics.CONNECTIONS.labels("used").set(connections.checkedout())
            metrics.CONNECTIONS.labels("idle").set(connections.checkedin())

    return {"outbox": outbox, "pool": pool, "bus": bus_probe(bus)}


def bus_probe(bus: Bus) -> Probe:
    """Whether the connection stands."""

    async def connected() -> None:
        metrics.BUS_CONNECTED.set(bus.is_connected)

    return connected
