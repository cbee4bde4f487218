"""A process of a test: commits notes with their facts for ever and says so, one JSON line a commit; its relay runs beside it.

``python -m tests.integration.note_teller DATABASE_URL NATS_URL FIRST_NUMBER``
"""

import asyncio
import json
import sys

from google.protobuf.wrappers_pb2 import StringValue

from libs.runtime.bus import Bus
from libs.runtime.outbox import Relay
from tests.integration.plumbing import METADATA, NoteRow, NoteWork, open_database


async def main(database_url: str, nats_url: str, first: int) -> None:
    """Tell until killed."""
    database = await open_database(database_url)
    work = database.work(NoteWork)

    async def relay() -> None:
        bus = await Bus.connect(nats_url, name="note-teller")
        await Relay(database, METADATA, bus).run(asyncio.Event())

    async with asyncio.TaskGroup() as group:
        group.create_task(relay())
        number = first
        while True:
            async with work() as w:
                w.session.add(NoteRow(id=str(number), text="told"))
                w.tell(StringValue(value=str(number)), resource="note", id=str(number))
                await w.commit()
            print(json.dumps({"committed": number}), flush=True)
            number += 1


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
