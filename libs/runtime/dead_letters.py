"""What consumers gave up on: looked at, and handed back once its cause is repaired."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import NotFoundError

from libs.runtime import call_context
from libs.runtime.bus import MESSAGE_ID_HEADER, TYPE_HEADER, Bus
from libs.runtime.errors import InvalidInput, NotFound
from libs.runtime.paging import Cursor, Page
from libs.runtime.subjects import DEAD_PREFIX, is_token

STREAM: Final = "DEAD"
SUBJECT_HEADER: Final = "Inkwright-Subject"
ERROR_HEADER: Final = "Inkwright-Error"
CAUSE_HEADER: Final = "Inkwright-Cause"
TRIES_HEADER: Final = "Inkwright-Tries"
ORIGINAL_ID_HEADER: Final = "Inkwright-Message-Id"
"""On a message that is replayed: its first id, so that the inbox still knows it."""
ONLY_HEADER: Final = "Inkwright-Only"
"""On a message that is replayed: the one durable it is for; every other lets it pass."""


class Cause(StrEnum):
    """Why a message was given up."""

    UNREADABLE = "UNREADABLE"
    """Its bytes are not what its subject promises."""
    REFUSED = "REFUSED"
    """What it asks for cannot be done, however often it is tried."""
    EXHAUSTED = "EXHAUSTED"
    """Every try it may have failed."""


@dataclass(frozen=True)
class DeadLetter:
    """One message and the consumer that gave it up.

    Args:
        sequence: its number among the dead letters.
        durable: the consumer.
        subject: where the message had been published.
        type: full name of its protobuf type; empty where the publisher did not say.
        message_id: its id.
        request_id: of the request that caused it.
        tries: how often it was delivered.
        error: of the last try.
        buried_time: aware UTC.
        payload: the message.
    """

    sequence: int
    durable: str
    subject: str
    type: str
    message_id: str
    request_id: str
    cause: Cause
    tries: int
    error: str
    buried_time: datetime
    payload: bytes


class DeadLetters:
    """The stream of dead letters."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def page(self, *, size: int, after: Cursor, durable: str = "") -> Page[DeadLetter]:
        """Letters, oldest first, of one durable or of all.

        Raises:
            InvalidInput: no consumer can be called so.
            nats.errors.Error: the bus is away.
        """
        if durable and not is_token(durable):
            raise InvalidInput(f"{durable[:100]!r} is no consumer; the list without one says which there are.", durable=durable[:100])
        sequence = int(after[0]) if after else 0
        found: list[DeadLetter] = []
        while len(found) <= size:
            letter = await self._next(sequence + 1, f"{DEAD_PREFIX}.{durable or '>'}")
            if letter is None:
                return Page(found)
            found.append(letter)
            sequence = letter.sequence
        return Page(found[:size], (found[size - 1].sequence,))

    async def get(self, number: str) -> DeadLetter:
        """The letter of this sequence, as it stands in its name.

        Raises:
            NotFound: there is none, or no longer.
            nats.errors.Error: the bus is away.
        """
        missing = NotFound(f"There is no dead letter {number}; it may have been replayed. List them to see which there are.", letter=number)
        if not number.isdecimal() or not 0 < int(number) < 2**63:
            raise missing
        try:
            return _letter(await self._bus.jetstream.get_msg(STREAM, int(number)))
        except NotFoundError:
            raise missing from None

    async def replay(self, number: str) -> DeadLetter:
        """Publish a letter's message again, for the consumer that gave it up and for no other, and remove the letter.

        A crash in between leaves the letter; replaying it twice has its effect once, as the message keeps its id in the inbox.

        Raises:
            NotFound: there is none, or no longer.
            nats.errors.Error: the bus is away; nothing is lost.
        """
        letter = await self.get(number)
        headers = {
            TYPE_HEADER: letter.type,
            call_context.REQUEST_ID_KEY: letter.request_id,
            # The trace is that of the replay: the first one has long been written.
            call_context.TRACEPARENT_KEY: call_context.traceparent.get(),
            ORIGINAL_ID_HEADER: letter.message_id,
            ONLY_HEADER: letter.durable,
        }
        given = {name: value for name, value in headers.items() if value}
        await self._bus.publish(letter.subject, letter.payload, message_id=f"replay-{letter.sequence}", headers=given)
        await self._bus.jetstream.delete_msg(STREAM, letter.sequence)
        return letter

    async def _next(self, sequence: int, subject: str) -> DeadLetter | None:
        try:
            return _letter(await self._bus.jetstream.get_msg(STREAM, sequence, subject=subject, next=True))
        except NotFoundError:
            return None


async def bury(bus: Bus, message: Msg, durable: str, cause: Cause, error: str) -> None:
    """Put a message among the dead letters, then end it for this consumer.

    Raises:
        nats.errors.Error: the letter was not stored; the message stays and is delivered again.
    """
    headers = {
        **(message.headers or {}),
        ORIGINAL_ID_HEADER: message_id(message),
        SUBJECT_HEADER: message.subject,
        CAUSE_HEADER: cause,
        TRIES_HEADER: str(message.metadata.num_delivered),
        ERROR_HEADER: " ".join(error.split())[:1000],
    }
    # By position, not by the message's id: a replayed message that dies again is another letter.
    letter_id = f"dead-{durable}-{message.metadata.stream}-{message.metadata.sequence.stream}"
    await bus.publish(f"{DEAD_PREFIX}.{durable}", message.data, message_id=letter_id, headers=headers)
    await message.term()


def message_id(message: Msg) -> str:
    """What a message is known by, however often it is published: the id of its first publication, else its place in its stream."""
    headers = message.headers or {}
    place = f"{message.metadata.stream}-{message.metadata.sequence.stream}"
    return headers.get(ORIGINAL_ID_HEADER) or headers.get(MESSAGE_ID_HEADER) or place


def is_replayed(message: Msg) -> bool:
    """Whether a message was published before, and again for the one consumer that had given it up."""
    return ONLY_HEADER in (message.headers or {})


def is_for(message: Msg, durable: str) -> bool:
    """Whether a consumer is to handle a message: one that is replayed is for a single one."""
    return (message.headers or {}).get(ONLY_HEADER, durable) == durable


def _letter(stored: api.RawStreamMsg) -> DeadLetter:
    headers = stored.headers or {}
    assert stored.seq is not None
    assert stored.time is not None
    return DeadLetter(
        sequence=stored.seq,
        durable=(stored.subject or "").removeprefix(f"{DEAD_PREFIX}."),
        subject=headers.get(SUBJECT_HEADER, ""),
        type=headers.get(TYPE_HEADER, ""),
        message_id=headers.get(ORIGINAL_ID_HEADER, ""),
        request_id=headers.get(call_context.REQUEST_ID_KEY, ""),
        cause=Cause(headers.get(CAUSE_HEADER, Cause.EXHAUSTED)),
        tries=int(headers.get(TRIES_HEADER, "0")),
        error=headers.get(ERROR_HEADER, ""),
        buried_time=stored.time.astimezone(UTC),
        payload=stored.data or b"",
    )
