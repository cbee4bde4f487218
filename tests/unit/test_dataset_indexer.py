"""The indexer's list of work, when what is on it ends while it is read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from libs.runtime.call_context import Origin
from libs.runtime.testing import assert_eventually
from services.dataset.indexing import indexer as module
from services.dataset.indexing.indexer import Indexer


class Made:
    """One dataset that wants a sync until one has ended, in place of database and stores."""

    def __init__(self) -> None:
        self.num_syncs = self.num_lists = 0
        self.began, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.now, self.datasets, self.place = datetime(2026, 1, 1, tzinfo=UTC), self, None

    @asynccontextmanager
    async def work(self, *, read_only: bool = False) -> AsyncIterator["Made"]:
        yield self

    async def overdue(self, _now: datetime) -> list[str]:
        return []

    async def wanting_sync(self) -> list[str]:
        return [] if self.ended.is_set() else ["ds_1"]

    async def purges(self) -> list[tuple[str, str]]:
        self.num_lists += 1
        if self.num_lists == 2:
            # The list says that a sync is wanted, and the one that runs ends before anybody looks at what runs.
            self.go_on.set()
            await self.ended.wait()
            await asyncio.sleep(0.05)
        return []

    async def origin_of(self, _work: str) -> Origin:
        return Origin()

    async def find(self, _uid: str) -> "Made":
        return self

    async def open(self, _place: object) -> None:
        return None

    async def run(self, _stopping: asyncio.Event) -> None:
        self.num_syncs += 1
        self.began.set()
        await self.go_on.wait()
        self.ended.set()


async def test_a_sync_that_ends_while_the_list_is_read_does_not_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = Made()
    monkeypatch.setattr(module, "Sync", lambda *_: made)
    stopping = asyncio.Event()
    indexer = Indexer(made.work, made, SimpleNamespace(), lambda: None)  # type: ignore[arg-type]
    running = asyncio.create_task(indexer.run(stopping))
    await made.began.wait()
    indexer.wake()

    def listed_again() -> None:
        assert made.num_lists >= 3

    await assert_eventually(listed_again)
    stopping.set()
    await running
    assert made.num_syncs == 1
