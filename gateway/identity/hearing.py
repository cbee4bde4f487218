"""The facts that fill the audit log: what each service says was changed."""

from functools import partial
from typing import Any, Final

from gateway.identity.domain import AuditEntry, Outcome
from gateway.store import Work
from inkwright.common.v1 import audit_pb2
from libs.runtime import call_context
from libs.runtime.hearing import Heard, Hearing
from libs.runtime.times import from_timestamp, utc_now


async def on_change_made(heard: Heard[audit_pb2.ChangeMade], work: Work) -> None:
    """Write it down, once."""
    change = heard.fact
    async with heard.once(work) as w:
        w.audit.add(
            AuditEntry(
                time=from_timestamp(change.time) or utc_now(),
                principal=change.principal,
                on_behalf_of=change.on_behalf_of,
                method=change.method,
                resource=change.resource,
                permission=change.permission,
                outcome=Outcome.DONE,
                request_id=call_context.request_id.get() or "",
            )
        )
        await w.commit()


# However long the database is away: a line of the audit log is not given up while the bus has it, seven days.
_hearing = partial(Hearing, fact=audit_pb2.ChangeMade, resource="audit", handle=on_change_made, max_deliver=1_000_000)

HEARINGS: Final[list[Hearing[Any, Work]]] = [
    _hearing(durable=f"gateway-audit-{service}", service=service) for service in ("dataset", "labeling", "trainer", "inference")
]
