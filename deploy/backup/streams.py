"""The streams of the bus in a backup, by JetStream's own snapshots: messages with their numbers and times, and how far each consumer is."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nats.js.errors import NotFoundError

from deploy.backup.archive import BackupError
from libs.runtime.bus import STREAMS, Bus
from libs.runtime.dead_letters import STREAM as DEAD

ANSWER_SECONDS = 30.0
CHUNK_BYTES = 128 * 1024
TRIES = 5

_SNAPSHOT: Final = "$JS.API.STREAM.SNAPSHOT"
_RESTORE: Final = "$JS.API.STREAM.RESTORE"
_NO_CONTENT = "204"


async def save_streams(bus: Bus, folder: Path) -> dict[str, dict[str, Any]]:
    """Write a snapshot of every stream there is into ``folder/<stream>``.

    The dead letters come last: whoever gives a message up puts the letter there first. Whoever replays one goes the other way, so
    everything is read again when letters went back meanwhile.

    Returns:
        How the server described each stream.

    Raises:
        BackupError: the server refuses, or letters go back all the time.
        nats.errors.Error: it is away.
    """
    names = [spec.name for spec in STREAMS if spec.name != DEAD] + [DEAD]
    for _ in range(TRIES):
        num_gone = await _num_gone_letters(bus)
        described = {name: stream for name in names if (stream := await _save(bus, name, folder / name)) is not None}
        if await _num_gone_letters(bus) == num_gone:
            return described
    raise BackupError("Dead letters are being replayed; back up once that is over.")


async def load_streams(bus: Bus, folder: Path, described: Mapping[str, Mapping[str, Any]]) -> None:
    """Make streams from the snapshots in ``folder/<stream>``.

    Args:
        described: as ``save_streams`` returned it.

    Raises:
        BackupError: a stream is there already, or the server refuses a snapshot.
        nats.errors.Error: the server is away.
    """
    for name in described:
        if await _exists(bus, name):
            raise BackupError(f"The bus has a stream {name} already; restore into an empty one.")
    try:
        for name, stream in described.items():
            await _load(bus, name, folder / name, stream)
    except BaseException:
        for name in described:
            if await _exists(bus, name):
                await bus.jetstream.delete_stream(name)
        raise


async def _save(bus: Bus, name: str, path: Path) -> dict[str, Any] | None:
    """``None`` where there is no such stream: whoever needs it declares it."""
    if not await _exists(bus, name):
        return None
    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox)
    try:
        answer = await _ask(bus, f"{_SNAPSHOT}.{name}", {"deliver_subject": inbox, "chunk_size": CHUNK_BYTES, "jsck": True})
        with path.open("wb") as file:
            while True:
                message = await subscription.next_msg(timeout=ANSWER_SECONDS)
                if not message.data:
                    status = (message.headers or {}).get("Status", _NO_CONTENT)
                    if status != _NO_CONTENT:
                        raise BackupError(f"The bus broke off the snapshot of {name} with status {status}.")
                    break
                await asyncio.to_thread(file.write, message.data)
                if message.reply:
                    # The server sends no more than its window ahead of these.
                    await bus.client.publish(message.reply)
    finally:
        await subscription.unsubscribe()
    return {"config": answer["config"], "state": answer["state"]}


async def _load(bus: Bus, name: str, path: Path, stream: Mapping[str, Any]) -> None:
    subject = (await _ask(bus, f"{_RESTORE}.{name}", stream))["deliver_subject"]
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            await bus.client.request(subject, chunk, timeout=ANSWER_SECONDS)
    _checked(name, (await bus.client.request(subject, b"", timeout=ANSWER_SECONDS)).data)


async def _exists(bus: Bus, name: str) -> bool:
    try:
        await bus.jetstream.stream_info(name)
    except NotFoundError:
        return False
    return True


async def _num_gone_letters(bus: Bus) -> int:
    if not await _exists(bus, DEAD):
        return 0
    state = (await bus.jetstream.stream_info(DEAD)).state
    return state.last_seq - state.messages


async def _ask(bus: Bus, subject: str, question: Mapping[str, Any]) -> dict[str, Any]:
    reply = await bus.client.request(subject, json.dumps(question).encode(), timeout=ANSWER_SECONDS)
    return _checked(subject.rpartition(".")[2], reply.data)


def _checked(name: str, data: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(data)
    if "error" in answer:
        raise BackupError(f"The bus refuses the snapshot of {name}: {answer['error'].get('description', answer['error'])}.")
    return answer
