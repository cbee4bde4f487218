"""Dead letters, for operators: the gateway's own methods, derived routes like everybody else's."""

# ruff: noqa: N802 - the proto names the methods

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.console.events import BUS_AWAY
from gateway.store import Work
from inkwright.gateway.v1 import dead_letter_pb2, event_service_pb2
from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.dead_letters import DeadLetter, DeadLetters
from libs.runtime.errors import NoReadyInstance
from libs.runtime.names import DEAD_LETTER
from libs.runtime.paging import page_cursor, page_size, page_token


class EventApi:
    """See ``EventService`` in the protos.

    Every method raises ``NoReadyInstance`` when the bus is away; nothing is lost then.
    """

    def __init__(self, bus: Bus, work: Work) -> None:
        self._bus = bus
        self._work = work
        self._letters = DeadLetters(bus)

    async def ListDeadLetters(self, request: event_service_pb2.ListDeadLettersRequest) -> event_service_pb2.ListDeadLettersResponse:
        size, cursor = page_size(request), page_cursor(request)
        with self._present():
            page = await self._letters.page(size=size, after=cursor, durable=request.durable)
        letters = [letter_to_proto(letter) for letter in page.items]
        return event_service_pb2.ListDeadLettersResponse(dead_letters=letters, next_page_token=page_token(request, page.next_cursor))

    async def ReplayDeadLetter(self, request: event_service_pb2.ReplayDeadLetterRequest) -> dead_letter_pb2.DeadLetter:
        number = DEAD_LETTER.parse(request.name)["dead_letter"]
        with self._present():
            letter = letter_to_proto(await self._letters.replay(number))
        async with self._work() as w:
            # The letter was no row; that it was replayed is one.
            await w.commit()
        return letter

    @contextmanager
    def _present(self) -> Iterator[None]:
        if not self._bus.is_connected:
            raise NoReadyInstance(BUS_AWAY)
        try:
            yield
        except BUS_ERRORS as error:
            raise NoReadyInstance(BUS_AWAY) from error


def letter_to_proto(letter: DeadLetter) -> dead_letter_pb2.DeadLetter:
    """A letter without its payload."""
    message = dead_letter_pb2.DeadLetter(
        name=DEAD_LETTER.format(dead_letter=str(letter.sequence)),
        durable=letter.durable,
        subject=letter.subject,
        type=letter.type,
        message_id=letter.message_id,
        request_id=letter.request_id,
        cause=dead_letter_pb2.DeadLetter.Cause.Value(letter.cause),
        num_tries=letter.tries,
        error=letter.error,
        size_bytes=len(letter.payload),
    )
    message.bury_time.FromDatetime(letter.buried_time)
    return message
