"""What can be done with pages and runs: one function a verb. Remote calls come before the transaction."""

from collections.abc import Sequence
from contextlib import suppress

from inkwright.labeling.v1.labeling_events_pb2 import PageReturned, PageSubmitted
from libs.runtime.errors import Conflict, InvalidInput, NotFound
from libs.runtime.names import DATASET, IMAGE, MODEL, PAGE, new_id
from libs.runtime.paging import Cursor
from libs.runtime.paging import Page as ListPage
from services.labeling.boxes import Operation
from services.labeling.domain import MAX_OPERATIONS, Edit, Logged, Page, PageState, WantedPages, append, check_sequence, content_to_submit
from services.labeling.fold import Content
from services.labeling.opening import look, take_over
from services.labeling.peers import Peers
from services.labeling.prelabel import Prelabel
from services.labeling.store import Work

MAX_REQUEST_ID = 64


async def get_page(work: Work, peers: Peers, name: str) -> tuple[Page, Content]:
    """A page with its boxes; opened on the spot when the fact that opens it is still on its way.

    Raises:
        NotFound: no such image, or one that cannot be used.
        DatasetInTrash: its dataset must be restored first.
    """
    await _ensure_open(work, peers, name)
    async with work(read_only=True) as w:
        page = await w.pages.get(name)
        return page, await w.pages.content(page)


async def list_pages(work: Work, dataset: str, wanted: WantedPages, *, size: int, after: Cursor) -> ListPage[Page]:
    """In key order, or the least certain first.

    Raises:
        DatasetInTrash: its dataset must be restored first.
    """
    ids = DATASET.parse(dataset)
    async with work(read_only=True) as w:
        await w.trash.check_out(ids["project"], ids["dataset"])
        return await w.pages.page(ids["project"], ids["dataset"], wanted, size=size, after=after)


async def apply_operations(work: Work, peers: Peers, name: str, operations: Sequence[Operation], *, actor: str) -> tuple[Page, Content]:
    """Append operations, all or none; ids that the page has already are skipped.

    Raises:
        InvalidInput: none, or more than 5,000.
        BoxNotFound, BoxInvalid: an operation that cannot be applied; the metadata names it.
        WrongState: the page is closed.
        NotFound: no such page.
        DatasetInTrash: its dataset must be restored first.
    """
    if not 0 < len(operations) <= MAX_OPERATIONS:
        message = f"{len(operations)} operations were sent; send 1 to {MAX_OPERATIONS}."
        raise InvalidInput(message, num_operations=len(operations))
    await _ensure_open(work, peers, name)
    async with work() as w:
        page = await w.pages.get(name, lock=True)
        page.check_open()
        content = await w.pages.content(page)
        known = await w.pages.known_operations(page, [operation.operation_id for operation in operations])
        fresh = {operation.operation_id: operation for operation in reversed(operations) if operation.operation_id not in known}
        if not fresh:
            return page, content
        edit = append(page, content, list(reversed(fresh.values())), actor=actor, by_person=True, at=w.now)
        await w.pages.save(edit)
        await w.commit()
    return edit.page, edit.content


async def list_operations(work: Work, name: str, *, after_sequence: int, size: int) -> list[Logged]:
    """Oldest first.

    Raises:
        NotFound: no such page.
        DatasetInTrash: its dataset must be restored first.
    """
    async with work(read_only=True) as w:
        page = await w.pages.get(name)
        await w.trash.check_out(page.project, page.dataset_id)
        return await w.pages.operations(page, after_sequence=after_sequence, size=size)


async def submit_page(work: Work, peers: Peers, name: str, *, sequence: int, overwrite: bool) -> tuple[Page, Content]:
    """Write the page's labels beside the image, then note it and tell. Safe to repeat.

    Args:
        work: units of work.
        peers: the dataset service.
        name: of the page.
        sequence: refuses any other; 0 takes the last.
        overwrite: lay the labels over a file that somebody else changed.

    Raises:
        NotFound: no such page.
        DatasetInTrash: its dataset must be restored first.
        Conflict: the page moved on, or the label file was changed by somebody else.
        WrongState: the page is closed.
        BoxInvalid: a box whose text was never typed.
    """
    page, content = await get_page(work, peers, name)
    check_sequence(page, sequence)
    boxes = content_to_submit(page, content)
    base = await peers.file_etag(page) if overwrite else page.file_etag
    file_etag = await peers.write_labels(page, boxes, file_etag=base)
    async with work() as w:
        current = await w.pages.get(name, lock=True)
        current.check_open()
        content = await w.pages.content(current)
        submitted = current.submitted(page.sequence, file_etag, at=w.now)
        done = (current.state, current.submitted_sequence, current.file_etag) == (PageState.SUBMITTED, page.sequence, file_etag)
        if done:
            return current, content
        await w.pages.save(Edit(submitted, content))
        fact = PageSubmitted(page=page.name, image=page.image, sequence=page.sequence, num_boxes=len(boxes))
        w.tell(fact, resource="page", id=page.image_id)
        await w.commit()
    return submitted, content


async def return_page(work: Work, name: str, note: str) -> tuple[Page, Content]:
    """Send a submitted page back.

    Raises:
        NotFound: no such page.
        DatasetInTrash: its dataset must be restored first.
        WrongState: it is not submitted.
        InvalidInput: no note, or one that is too long.
    """
    async with work() as w:
        page = await w.pages.get(name, lock=True)
        await w.trash.check_out(page.project, page.dataset_id)
        content = await w.pages.content(page)
        returned = page.returned(note, at=w.now)
        await w.pages.save(Edit(returned, content))
        w.tell(PageReturned(page=page.name, image=page.image, note=note), resource="page", id=page.image_id)
        await w.commit()
    return returned, content


async def create_prelabel(work: Work, peers: Peers, dataset: str, *, model: str, request_id: str) -> Prelabel:
    """Start a run over the empty pages of a dataset; the runner takes it up.

    Raises:
        NotFound: no such dataset.
        DatasetInTrash: its dataset must be restored first.
        InvalidName: the model is no model name.
        InvalidInput: the request id is too long.
    """
    ids = DATASET.parse(dataset)
    if model:
        MODEL.parse(model)
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidInput(f"The request_id has {len(request_id)} characters; use at most {MAX_REQUEST_ID}.", field="request_id")
    await peers.dataset_status(dataset)
    async with work() as w:
        prelabel = await w.prelabels.created_by(ids["project"], ids["dataset"], request_id)
        if prelabel is None:
            prelabel = Prelabel(new_id("pre"), ids["project"], ids["dataset"], model, create_time=w.now, update_time=w.now)
            w.prelabels.add(prelabel, request_id=request_id)
            await w.note_origin(prelabel.prelabel_id)
            await w.commit()
    return prelabel


async def get_prelabel(work: Work, name: str) -> Prelabel:
    """Read one.

    Raises:
        NotFound: no such run.
    """
    async with work(read_only=True) as w:
        return await w.prelabels.get(name)


async def list_prelabels(work: Work, dataset: str, *, size: int, after: Cursor) -> ListPage[Prelabel]:
    """Newest first."""
    ids = DATASET.parse(dataset)
    async with work(read_only=True) as w:
        return await w.prelabels.page(ids["project"], ids["dataset"], size=size, after=after)


async def _ensure_open(work: Work, peers: Peers, name: str) -> None:
    ids = PAGE.parse(name)
    async with work(read_only=True) as w:
        await w.trash.check_out(ids["project"], ids["dataset"])
        if await w.pages.many(ids["project"], ids["dataset"], [ids["image"]]):
            return
    sighting = await look(work, peers, [IMAGE.format(**ids)])
    if not sighting.images:
        raise NotFound(f"There is no page {name}: its dataset has no usable image of this id.", name=name)
    # The fact may have been faster, or be opening the page at this very moment.
    with suppress(Conflict):
        async with work() as w:
            if not await w.pages.many(ids["project"], ids["dataset"], [ids["image"]]):
                await take_over(w, sighting)
                await w.commit(records=False)
