"""A page: the labels of one image and where they stand. No I/O, no clock, no random."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from libs.runtime.errors import Conflict, InvalidInput, WrongState
from libs.runtime.names import DATASET, IMAGE, LABELS, PAGE
from services.labeling.boxes import Box, BoxInvalid, CreateBox, DeleteBox, Kind, Operation, Source, clean_text, clockwise, is_box_id
from services.labeling.fold import Content, fold

MAX_NOTE: Final = 1_000
MAX_OPERATIONS: Final = 5_000

IMPORTER: Final = "label-file"
"""Actor of operations that take over a label file."""


class PageState(StrEnum):
    """See ``Page.State`` in the proto."""

    EMPTY = "EMPTY"
    DRAFT = "DRAFT"
    SUBMITTED = "SUBMITTED"
    RETURNED = "RETURNED"
    CLOSED = "CLOSED"


@dataclass(frozen=True)
class IndexedImage:
    """What labeling needs to know of an image of the dataset service."""

    image_id: str
    key: str
    width_px: int
    height_px: int
    store_etag: str
    has_label_file: bool
    is_usable: bool


@dataclass(frozen=True)
class LabelFile:
    """What lies beside an image; no file: empty etag. A file that cannot be read has an etag and is not readable."""

    etag: str = ""
    readable: bool = False
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Logged:
    """An operation with its place in the page's list."""

    sequence: int
    actor: str
    create_time: datetime
    operation: Operation


@dataclass(frozen=True)
class Page:
    """The page of one image, its boxes apart (see ``Content``).

    Args:
        uid: never used again.
        sequence: number of the last operation.
        submitted_sequence: the one whose content lies beside the image.
        edited_sequence: the last one by a person.
        file_etag: tag of the label file the content goes back to; empty when there was none.
        lowest_confidence: 0 to 1, of the suggestion that its model is least sure of; None without suggestions.
        last_editor: who made the edit ``edited_sequence``; empty when nobody did.
        dataset_deleted: closed with its dataset; nothing of it is taken up again.
        revision: goes up with every change.
    """

    uid: str
    project: str
    dataset_id: str
    image_id: str
    key: str
    width_px: int
    height_px: int
    state: PageState
    update_time: datetime
    sequence: int = 0
    submitted_sequence: int = 0
    edited_sequence: int = 0
    num_boxes: int = 0
    num_suggestions: int = 0
    lowest_confidence: float | None = None
    last_editor: str = ""
    return_note: str = ""
    file_etag: str = ""
    store_etag: str = ""
    dataset_deleted: bool = False
    revision: int = 0

    @property
    def name(self) -> str:
        """``projects/{project}/datasets/{dataset}/pages/{image}``."""
        return PAGE.format(project=self.project, dataset=self.dataset_id, image=self.image_id)

    @property
    def image(self) -> str:
        """``projects/{project}/datasets/{dataset}/images/{image}``."""
        return IMAGE.format(project=self.project, dataset=self.dataset_id, image=self.image_id)

    @property
    def labels(self) -> str:
        """``projects/{project}/datasets/{dataset}/images/{image}/labels``."""
        return LABELS.format(project=self.project, dataset=self.dataset_id, image=self.image_id)

    @property
    def dataset(self) -> str:
        """``projects/{project}/datasets/{dataset}``."""
        return DATASET.format(project=self.project, dataset=self.dataset_id)

    @property
    def etag(self) -> str:
        """Stands for this revision of this page."""
        return hashlib.sha256(f"{self.uid}/{self.revision}".encode()).hexdigest()[:16]

    @property
    def has_own_edits(self) -> bool:
        """Whether a person edited it since it was last submitted."""
        return self.edited_sequence > self.submitted_sequence

    def check_open(self) -> None:
        """Accept any state but CLOSED.

        Raises:
            WrongState: the image is gone.
        """
        if self.state is PageState.CLOSED:
            raise WrongState(f"The image of {self.name} is gone; put it back and sync the dataset.", name=self.name)

    def submitted(self, sequence: int, file_etag: str, *, at: datetime) -> "Page":
        """The content of ``sequence`` was written beside the image as ``file_etag``; later operations keep it a draft."""
        state = PageState.SUBMITTED if sequence == self.sequence else PageState.DRAFT
        page = replace(self, state=state, submitted_sequence=sequence, file_etag=file_etag, return_note="")
        return page._changed(at)

    def returned(self, note: str, *, at: datetime) -> "Page":
        """A reviewer wants another look.

        Raises:
            InvalidInput: no note, or one over 1,000 characters.
            WrongState: it was not submitted.
        """
        if not 0 < len(note) <= MAX_NOTE:
            raise InvalidInput(f"Say in 1 to {MAX_NOTE} characters what is to be looked at again.", field="note", length=len(note))
        if self.state is not PageState.SUBMITTED:
            raise WrongState(f"{self.name} is {self.state}; only a submitted page can be returned.", name=self.name, state=self.state)
        return replace(self, state=PageState.RETURNED, return_note=note)._changed(at)

    def closed(self, *, dataset_deleted: bool, at: datetime) -> "Page":
        """The image is gone."""
        return replace(self, state=PageState.CLOSED, dataset_deleted=self.dataset_deleted or dataset_deleted)._changed(at)

    def _changed(self, at: datetime) -> "Page":
        return replace(self, revision=self.revision + 1, update_time=at)


@dataclass(frozen=True)
class WantedPages:
    """What a list of pages is asked for; None and empty ask for nothing.

    Args:
        state: without one, all but CLOSED.
        max_confidence: 0 to 1; the least certain pages come first.
    """

    state: PageState | None = None
    editor: str = ""
    max_confidence: float | None = None

    def __post_init__(self) -> None:
        """Raises ``InvalidInput`` for a confidence that none can be compared with."""
        if self.max_confidence is not None and not 0.0 <= self.max_confidence <= 1.0:
            message = f"A confidence of {self.max_confidence} was asked for; it lies between 0 and 1."
            raise InvalidInput(message, field="max_confidence")


@dataclass(frozen=True)
class Edit:
    """What a change made of a page: to be saved together."""

    page: Page
    content: Content
    logged: tuple[Logged, ...] = ()


def append(page: Page, content: Content, operations: Sequence[Operation], *, actor: str, by_person: bool, at: datetime) -> Edit:
    """Append operations, all or none.

    Raises:
        BoxNotFound, BoxInvalid: see ``fold``.
        WrongState: the page is closed.
    """
    page.check_open()
    if not operations:
        return Edit(page, content)
    after = fold(content, operations, width_px=page.width_px, height_px=page.height_px)
    confidences = [box.confidence for box in after.boxes if box.source is Source.SUGGESTED]
    logged = tuple(Logged(page.sequence + number, actor, at, operation) for number, operation in enumerate(operations, start=1))
    sequence = logged[-1].sequence
    # A returned page keeps its note until it is submitted again.
    state = PageState.RETURNED if page.state is PageState.RETURNED else PageState.DRAFT
    changed = replace(
        page,
        state=state,
        sequence=sequence,
        edited_sequence=sequence if by_person else page.edited_sequence,
        last_editor=actor if by_person else page.last_editor,
        num_boxes=len(after.boxes),
        num_suggestions=len(confidences),
        lowest_confidence=min(confidences, default=None),
    )
    return Edit(changed._changed(at), after, logged)


def open_page(uid: str, project: str, dataset_id: str, image: IndexedImage, file: LabelFile, *, at: datetime) -> Edit:
    """A new page with what the label file says."""
    page = Page(
        uid=uid,
        project=project,
        dataset_id=dataset_id,
        image_id=image.image_id,
        key=image.key,
        width_px=image.width_px,
        height_px=image.height_px,
        state=PageState.EMPTY,
        update_time=at,
        store_etag=image.store_etag,
    )
    return _take_over(Edit(page._changed(at), Content()), file, at=at)


def refresh_page(page: Page, content: Content, image: IndexedImage, file: LabelFile, *, at: datetime) -> Edit:
    """The image or its label file may have changed, or the image is back.

    A page with edits of a person that were not submitted keeps them, and the tag of the file they go back to: its submit is then
    refused as a conflict. Any other page takes over what the file says.
    """
    measured = replace(page, key=image.key, width_px=image.width_px, height_px=image.height_px, store_etag=image.store_etag)
    if page.state is PageState.CLOSED:
        measured = replace(measured, state=_state_of(page))
        if page.dataset_deleted:
            return _take_over(_emptied(measured, content, at=at), file, at=at)
    if measured.has_own_edits:
        return Edit(_if_changed(measured, page, at), content)
    edit = _take_over(Edit(measured, content), file, at=at)
    return replace(edit, page=_if_changed(edit.page, page, at))


def content_to_submit(page: Page, content: Content) -> tuple[Box, ...]:
    """The boxes that become labels; suggestions nobody accepted are left out.

    Raises:
        WrongState: the page is closed.
        BoxInvalid: a box whose text was never typed.
    """
    page.check_open()
    boxes = tuple(box for box in content.boxes if box.source is not Source.SUGGESTED)
    for box in boxes:
        if not box.text.strip() and not box.unreadable:
            raise BoxInvalid(f"Box {box.box_id} has no text; type it, mark it unreadable, or delete the box.", box_id=box.box_id)
    return boxes


def check_sequence(page: Page, sequence: int) -> None:
    """Accept 0 or the page's last number.

    Raises:
        Conflict: the page has moved on.
    """
    if sequence and sequence != page.sequence:
        message = f"{page.name} is at operation {page.sequence}, not {sequence}; look at it again, then submit."
        raise Conflict(message, name=page.name, sequence=page.sequence)


def _take_over(edit: Edit, file: LabelFile, *, at: datetime) -> Edit:
    """Make the content what a readable file says; one that is gone or unreadable changes no box."""
    page, content = edit.page, edit.content
    if file.etag == page.file_etag:
        return edit
    based = replace(page, file_etag=file.etag)
    if not file.readable:
        # Nothing beside the image says what stands here any more.
        state = PageState.DRAFT if page.state is PageState.SUBMITTED else page.state
        return replace(edit, page=replace(based, state=state))
    if page.sequence and _same(content.boxes, file.boxes):
        return replace(edit, page=based)
    taken = set(content.used_ids)
    kinds: list[Kind] = [DeleteBox(box.box_id) for box in content.boxes]
    for box in file.boxes:
        box_id = _fresh_id(box.box_id, taken)
        taken.add(box_id)
        imported_box = replace(box, box_id=box_id, quad=clockwise(box.quad), text=clean_text(box.text), source=Source.IMPORTED)
        kinds.append(CreateBox(imported_box))
    imported = append(replace(based, state=PageState.DRAFT), content, _numbered(page, kinds), actor=IMPORTER, by_person=False, at=at)
    return replace(imported, logged=edit.logged + imported.logged)


def _emptied(page: Page, content: Content, *, at: datetime) -> Edit:
    fresh = replace(page, file_etag="", dataset_deleted=False, return_note="", submitted_sequence=0, edited_sequence=0, last_editor="")
    kinds = [DeleteBox(box.box_id) for box in content.boxes]
    edit = append(replace(fresh, state=PageState.EMPTY), content, _numbered(page, kinds), actor=IMPORTER, by_person=False, at=at)
    return replace(edit, page=replace(edit.page, state=PageState.EMPTY)._changed(at))


def _numbered(page: Page, kinds: Sequence[Kind]) -> list[Operation]:
    return [Operation(f"{IMPORTER}-{page.sequence + number}", kind) for number, kind in enumerate(kinds, start=1)]


def _state_of(page: Page) -> PageState:
    if page.return_note:
        return PageState.RETURNED
    if page.submitted_sequence and page.submitted_sequence == page.sequence:
        return PageState.SUBMITTED
    return PageState.DRAFT if page.sequence or page.file_etag else PageState.EMPTY


def _if_changed(page: Page, before: Page, at: datetime) -> Page:
    return page if page == before or page.revision != before.revision else page._changed(at)


def _same(boxes: tuple[Box, ...], others: tuple[Box, ...]) -> bool:
    def said(all_boxes: tuple[Box, ...]) -> list[tuple[object, ...]]:
        corners = [[(round(x, 2), round(y, 2)) for x, y in clockwise(box.quad)] for box in all_boxes]
        return [(quad, box.text, box.unreadable) for quad, box in zip(corners, all_boxes, strict=True)]

    return said(tuple(box for box in boxes if box.source is not Source.SUGGESTED)) == said(others)


def _fresh_id(wanted: str, taken: set[str]) -> str:
    box_id, number = wanted, 1
    while box_id in taken or not is_box_id(box_id):
        number += 1
        box_id = f"{wanted[:50]}-{number}" if is_box_id(wanted) else f"f-{number}"
    return box_id
