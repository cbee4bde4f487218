"""The queue of an instance and its memory of failed inputs, without an engine."""

import asyncio
import threading

import pytest

from libs.runtime.errors import Expired, ForwardFailed, QueueFull
from services.inference.instance.reading_queue import ReadingQueue
from services.inference.instance.servicer import MAX_REMEMBERED, REMEMBERED_SECONDS, FailedInputs


class Gate:
    """A reader that waits until it is opened and notes what it read."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.seen: list[bytes] = []

    def read(self, data: bytes) -> str:
        self.seen.append(data)
        self.entered.set()
        assert self.opened.wait(10)
        if data == b"bad":
            raise ForwardFailed("no", cause="shape")
        return data.decode()


async def test_requests_are_read_in_turn_and_an_error_is_its_callers_alone() -> None:
    gate = Gate()
    gate.opened.set()
    queue = ReadingQueue(gate.read, size=4)
    queue.start()
    answers = await asyncio.gather(*(queue.submit(data, remaining_seconds=None) for data in (b"a", b"bad", b"b")), return_exceptions=True)
    first, failed, last = answers
    assert not isinstance(first, BaseException)
    assert not isinstance(last, BaseException)
    assert (first.result, last.result, gate.seen) == ("a", "b", [b"a", b"bad", b"b"])
    assert first.queue_ms >= 0
    assert isinstance(failed, ForwardFailed)
    assert queue.num_in_flight == 0
    await queue.stop()


async def test_full_queue_refuses_and_an_expired_or_abandoned_request_is_not_read() -> None:
    gate = Gate()
    queue = ReadingQueue(gate.read, size=3)
    queue.start()
    working = asyncio.create_task(queue.submit(b"a", remaining_seconds=None))
    await asyncio.to_thread(gate.entered.wait, 10)
    late = asyncio.create_task(queue.submit(b"late", remaining_seconds=0.0))
    left = asyncio.create_task(queue.submit(b"left", remaining_seconds=None))
    await asyncio.sleep(0)
    assert queue.num_in_flight == 3
    with pytest.raises(QueueFull, match="3 requests"):
        await queue.submit(b"c", remaining_seconds=None)
    left.cancel()
    gate.opened.set()
    assert (await working).result == "a"
    with pytest.raises(Expired):
        await late
    assert (await queue.submit(b"next", remaining_seconds=5.0)).result == "next"
    assert gate.seen == [b"a", b"next"]
    await queue.stop()


def test_failed_input_is_remembered_for_a_minute() -> None:
    now = [0.0]
    failed = FailedInputs(clock=lambda: now[0])
    failed.check("x")
    failed.remember("x", ForwardFailed("no", cause="shape"))
    now[0] = REMEMBERED_SECONDS - 1
    with pytest.raises(ForwardFailed) as again:
        failed.check("x")
    assert again.value.metadata == {"cause": "shape"}
    now[0] = REMEMBERED_SECONDS
    failed.check("x")
    for number in range(MAX_REMEMBERED + 1):
        failed.remember(str(number), ForwardFailed("no"))
    failed.check("0")
    with pytest.raises(ForwardFailed):
        failed.check(str(MAX_REMEMBERED))
