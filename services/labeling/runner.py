"""The background task that carries out runs of models over empty pages."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from libs.runtime import logs, traces
from libs.runtime.errors import Expired, Fault, ForwardFailed, InvalidInput, NoReadyInstance, NotFound, QueueFull
from libs.runtime.names import PAGE
from services.labeling.domain import Page, PageState, append
from services.labeling.instance import SuggestionInstance
from services.labeling.peers import Peers
from services.labeling.prelabel import Prelabel, SuggestedLine
from services.labeling.store import Work

log = logs.get_logger()

IN_FLIGHT: Final = 2
BATCH: Final = 200
MAX_TRIES: Final = 3
"""After the connection was lost this often over one image, the image is the suspect."""
OPENING_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2
TICK_SECONDS: Final = 2.0
"""Another process may have been asked; this one is woken only by its own callers."""


class PrelabelRunner:
    """Carries out every run that has not ended; what is left of each stands in the database, so a restart goes on.

    Args:
        work: units of work.
        peers: dataset and inference.
        wait_seconds: how long a run waits for an instance of its model, and for an image while the dataset service is away.
        renew_seconds: how often it asks again for the one it uses.
    """

    def __init__(self, work: Work, peers: Peers, *, wait_seconds: float, renew_seconds: float) -> None:
        self._work = work
        self._peers = peers
        self._wait_seconds = wait_seconds
        self._renew_seconds = renew_seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Go on until ``stopping`` is set; what is being read then is read again by the next process."""
        running: dict[str, asyncio.Task[None]] = {}
        stop_watch = asyncio.create_task(stopping.wait(), name="runner-stop")
        stop_watch.add_done_callback(lambda _task: self._woken.set())
        try:
            async with asyncio.TaskGroup() as group:
                while not stopping.is_set():
                    self._woken.clear()
                    # Before the list is read: what ends in between may still be on it, and would be done twice.
                    running = {key: task for key, task in running.items() if not task.done()}
                    async with self._work(read_only=True) as w:
                        wanted = await w.prelabels.running()
                    for prelabel in wanted:
                        if prelabel.prelabel_id not in running:
                            running[prelabel.prelabel_id] = group.create_task(self._carry_out(prelabel), name=prelabel.prelabel_id)
                    await _wait(self._woken, TICK_SECONDS)
                for task in running.values():
                    task.cancel()
        finally:
            stop_watch.cancel()

    async def _carry_out(self, prelabel: Prelabel) -> None:
        async with self._work(read_only=True) as w:
            origin = await w.origin_of(prelabel.prelabel_id)
        with origin.continued(), logs.bind(resource=prelabel.name), traces.span("prelabel"):
            try:
                await self._read_all(prelabel)
            except Fault as fault:
                await self._fail(prelabel, fault.message)
            except Exception as error:
                log.error("prelabel_crashed", exc_info=error)
                await self._fail(
                    prelabel, "Something went wrong inside Inkwright; look at the labeling service's log, then start it again."
                )

    async def _read_all(self, prelabel: Prelabel) -> None:
        if not prelabel.planned:
            prelabel = await self._plan(prelabel)
        if prelabel.num_done < prelabel.num_images:
            async with SuggestionInstance.acquired(
                self._peers, prelabel.model, wait_seconds=self._wait_seconds, renew_seconds=self._renew_seconds
            ) as instance:
                async with self._work() as w:
                    prelabel = (await w.prelabels.get(prelabel.name, lock=True)).uses(instance.model)
                    await w.prelabels.put(prelabel)
                    await w.commit()
                while image_ids := await self._items(prelabel):
                    await self._read_batch(prelabel, image_ids, instance)
        async with self._work() as w:
            finished = (await w.prelabels.get(prelabel.name, lock=True)).succeeded(at=w.now)
            await w.prelabels.put(finished)
            await w.commit()
        log.info("prelabel_finished", num_images=finished.num_images, num_failed=finished.num_failed, num_boxes=finished.num_boxes)

    async def _plan(self, prelabel: Prelabel) -> Prelabel:
        """Choose the pages, once those of all indexed images are open."""
        end = time.monotonic() + OPENING_SECONDS
        while time.monotonic() < end:
            if await self._is_open(prelabel):
                break
            await asyncio.sleep(POLL_SECONDS)
        async with self._work() as w:
            planned = prelabel.plan(await w.prelabels.plan(prelabel), at=w.now)
            await w.prelabels.put(planned)
            await w.commit()
        return planned

    async def _is_open(self, prelabel: Prelabel) -> bool:
        try:
            status = await self._peers.dataset_status(prelabel.dataset)
        except (NoReadyInstance, Expired):
            return False
        async with self._work(read_only=True) as w:
            num_open = await w.pages.count(prelabel.project, prelabel.dataset_id)
        return not status.is_indexing and num_open >= status.num_usable

    async def _items(self, prelabel: Prelabel) -> list[str]:
        async with self._work(read_only=True) as w:
            return await w.prelabels.items(prelabel, size=BATCH)

    async def _read_batch(self, prelabel: Prelabel, image_ids: Sequence[str], instance: SuggestionInstance) -> None:
        rest = iter(image_ids)

        async def worker() -> None:
            for image_id in rest:
                await self._read_one(prelabel, image_id, instance)

        workers = [asyncio.create_task(worker(), name=f"predict-{number}") for number in range(IN_FLIGHT)]
        try:
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.wait(workers)

    async def _read_one(self, prelabel: Prelabel, image_id: str, instance: SuggestionInstance) -> None:
        name = PAGE.format(project=prelabel.project, dataset=prelabel.dataset_id, image=image_id)
        async with self._work(read_only=True) as w:
            page = await w.pages.get(name)
        lines = await self._predict(page, instance) if page.state is PageState.EMPTY else []
        async with self._work() as w:
            current, page = await w.prelabels.get(prelabel.name, lock=True), await w.pages.get(name, lock=True)
            if not await w.prelabels.finish_item(current, image_id):
                return
            if lines is None:
                await w.prelabels.put(current.could_not_read(at=w.now))
            else:
                # Whatever a person did meanwhile wins.
                is_empty = page.state is PageState.EMPTY
                found = current.suggestions(lines, width_px=page.width_px, height_px=page.height_px) if is_empty else []
                known = await w.pages.known_operations(page, [operation.operation_id for operation in found])
                fresh = [operation for operation in found if operation.operation_id not in known]
                if fresh:
                    content = await w.pages.content(page)
                    await w.pages.save(append(page, content, fresh, actor=current.model, by_person=False, at=w.now))
                await w.prelabels.put(current.read(len(fresh), at=w.now))
            await w.commit()

    async def _predict(self, page: Page, instance: SuggestionInstance) -> list[SuggestedLine] | None:
        """What the model reads on a page; None when its image cannot be read."""
        num_tries = 0
        while True:
            try:
                return await instance.predict(await self._image_of(page))
            except QueueFull:
                await asyncio.sleep(POLL_SECONDS)
            except (InvalidInput, ForwardFailed, NotFound) as fault:
                log.info("image_not_read", image=page.image, reason=fault.reason)
                return None
            except (NoReadyInstance, Expired) as fault:
                num_tries += 1
                if num_tries == MAX_TRIES:
                    log.warning("image_not_read", image=page.image, reason=fault.reason)
                    return None
                await asyncio.sleep(POLL_SECONDS * num_tries)
                await instance.acquire_again()

    async def _image_of(self, page: Page) -> bytes:
        """Its bytes; that the dataset service is away for a while says nothing against the image."""
        end = time.monotonic() + self._wait_seconds
        while True:
            try:
                return await self._peers.read_image(page)
            except NoReadyInstance:
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def _fail(self, prelabel: Prelabel, message: str) -> None:
        log.warning("prelabel_failed", message=message)
        async with self._work() as w:
            current = await w.prelabels.get(prelabel.name, lock=True)
            await w.prelabels.put(current.failed(message, at=w.now))
            await w.commit()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
