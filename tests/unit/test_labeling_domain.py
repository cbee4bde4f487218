"""Pages: what a label file, a person and a reviewer make of them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from libs.runtime.errors import Conflict, InvalidInput, WrongState
from services.labeling.boxes import Box, BoxInvalid, CreateBox, DeleteBox, Operation, Quad, RetypeBox, Source
from services.labeling.domain import (
    Edit,
    IndexedImage,
    LabelFile,
    PageState,
    append,
    check_sequence,
    content_to_submit,
    open_page,
    refresh_page,
)
from services.labeling.prelabel import Prelabel, SuggestedLine

AT = datetime(2026, 1, 2, tzinfo=UTC)
QUAD: Quad = ((10, 10), (60, 10), (60, 30), (10, 30))
IMAGE = IndexedImage("img_1", "a.jpg", 100, 80, "etag-image", has_label_file=True, is_usable=True)
NO_FILE = LabelFile()


def file_with(*texts: str, etag: str = "file-1") -> LabelFile:
    boxes = tuple(Box(f"f{number}", QUAD, text, source=Source.IMPORTED) for number, text in enumerate(texts, start=1))
    return LabelFile(etag, readable=True, boxes=boxes)


def opened(file: LabelFile = NO_FILE) -> Edit:
    return open_page("pg-1", "default", "cards", IMAGE, file, at=AT)


def edited(edit: Edit, *operations: Operation, by_person: bool = True) -> Edit:
    return append(edit.page, edit.content, operations, actor="ann", by_person=by_person, at=AT)


def create(box_id: str, text: str = "hello", source: Source = Source.HUMAN) -> Operation:
    return Operation(f"make-{box_id}", CreateBox(Box(box_id, QUAD, text, source=source)))


def texts(edit: Edit) -> list[str]:
    return [box.text for box in edit.content.boxes]


def refreshed(edit: Edit, file: LabelFile, image: IndexedImage = IMAGE) -> Edit:
    return refresh_page(edit.page, edit.content, image, file, at=AT)


def test_a_page_without_a_label_file_is_empty() -> None:
    page = opened().page
    assert (page.state, page.sequence, page.file_etag) == (PageState.EMPTY, 0, "")


def test_a_label_file_is_imported_as_operations() -> None:
    edit = opened(file_with("one", "two"))
    assert texts(edit) == ["one", "two"]
    assert {box.source for box in edit.content.boxes} == {Source.IMPORTED}
    assert [logged.sequence for logged in edit.logged] == [1, 2]
    assert (edit.page.state, edit.page.file_etag, edit.page.has_own_edits) == (PageState.DRAFT, "file-1", False)


def test_a_labelled_negative_is_not_empty() -> None:
    assert opened(file_with()).page.state is PageState.DRAFT


def test_an_unreadable_file_leaves_the_page_empty_but_is_remembered() -> None:
    page = opened(LabelFile("file-1", readable=False)).page
    assert (page.state, page.file_etag) == (PageState.EMPTY, "file-1")


def test_what_a_file_says_is_cleaned_for_the_page() -> None:
    backwards: Quad = (QUAD[0], QUAD[3], QUAD[2], QUAD[1])
    file = LabelFile("file-1", readable=True, boxes=(Box("bad id", backwards, "one\u2028two" + "x" * 3000),))
    (box,) = opened(file).content.boxes
    assert box.quad == QUAD
    assert box.text.startswith("one two")
    assert len(box.text) == 2000


def test_a_changed_file_replaces_what_was_imported() -> None:
    edit = refreshed(opened(file_with("one", "two")), file_with("uno", etag="file-2"))
    assert texts(edit) == ["uno"]
    assert edit.page.file_etag == "file-2"
    assert edit.content.used_ids == {"f1", "f2", "f1-2"}


def test_an_equal_file_changes_only_the_tag() -> None:
    before = opened(file_with("one"))
    edit = refreshed(before, file_with("one", etag="file-2"))
    assert (edit.logged, edit.content, edit.page.file_etag) == ((), before.content, "file-2")
    assert edit.page.revision == before.page.revision + 1


def test_nothing_new_changes_nothing() -> None:
    before = opened(file_with("one"))
    assert refreshed(before, file_with("one")) == Edit(before.page, before.content)


def test_a_file_that_appears_wins_over_suggestions() -> None:
    suggested = edited(opened(), create("s1", "helo", Source.SUGGESTED), by_person=False)
    edit = refreshed(suggested, file_with("hello"))
    assert texts(edit) == ["hello"]
    assert edit.page.num_suggestions == 0


def test_edits_of_a_person_are_kept_with_the_tag_they_go_back_to() -> None:
    mine = edited(opened(file_with("one")), Operation("o", RetypeBox("f1", "mine")))
    edit = refreshed(mine, file_with("theirs", etag="file-2"))
    assert texts(edit) == ["mine"]
    assert edit.page.file_etag == "file-1"


def test_a_submitted_page_takes_over_a_changed_file() -> None:
    mine = edited(opened(), create("a", "mine"))
    submitted = replace(mine, page=mine.page.submitted(1, "file-1", at=AT))
    edit = refreshed(submitted, file_with("theirs", etag="file-2"))
    assert (texts(edit), edit.page.state) == (["theirs"], PageState.DRAFT)


def test_a_removed_file_loses_no_label() -> None:
    mine = edited(opened(), create("a", "mine"))
    submitted = replace(mine, page=mine.page.submitted(1, "file-1", at=AT))
    edit = refreshed(submitted, NO_FILE)
    assert (texts(edit), edit.page.state, edit.page.file_etag) == (["mine"], PageState.DRAFT, "")


def test_a_closed_page_comes_back_as_it_was() -> None:
    mine = edited(opened(), create("a", "mine"))
    closed = replace(mine, page=mine.page.closed(dataset_deleted=False, at=AT))
    with pytest.raises(WrongState):
        edited(closed, create("b"))
    back = refreshed(closed, NO_FILE)
    assert (texts(back), back.page.state) == (["mine"], PageState.DRAFT)


def test_a_page_of_a_deleted_dataset_starts_anew() -> None:
    mine = edited(opened(), create("a", "mine"))
    closed = replace(mine, page=mine.page.closed(dataset_deleted=True, at=AT))
    back = refreshed(closed, NO_FILE)
    assert (texts(back), back.page.state, back.page.has_own_edits) == ([], PageState.EMPTY, False)
    assert [type(logged.operation.kind) for logged in back.logged] == [DeleteBox]
    assert texts(refreshed(closed, file_with("one"))) == ["one"]


def test_operations_are_numbered_and_make_a_draft() -> None:
    edit = edited(opened(), create("a"), create("b"))
    assert [logged.sequence for logged in edit.logged] == [1, 2]
    assert (edit.page.state, edit.page.num_boxes, edit.page.has_own_edits) == (PageState.DRAFT, 2, True)
    assert edited(edit, create("c")).logged[0].sequence == 3


def test_submit_and_return() -> None:
    page = edited(opened(), create("a")).page
    with pytest.raises(WrongState):
        page.returned("look again", at=AT)
    submitted = page.submitted(1, "file-1", at=AT)
    assert (submitted.state, submitted.has_own_edits) == (PageState.SUBMITTED, False)
    for note in ("", "x" * 1001):
        with pytest.raises(InvalidInput):
            submitted.returned(note, at=AT)
    returned = submitted.returned("look again", at=AT)
    again = append(returned, edited(opened(), create("a")).content, [create("b")], actor="ann", by_person=True, at=AT)
    assert (again.page.state, again.page.return_note) == (PageState.RETURNED, "look again")
    assert again.page.submitted(2, "file-2", at=AT).return_note == ""


def test_operations_after_the_submitted_sequence_keep_a_draft() -> None:
    page = edited(opened(), create("a"), create("b")).page
    assert page.submitted(1, "file-1", at=AT).state is PageState.DRAFT


def test_suggestions_nobody_accepted_are_not_submitted() -> None:
    edit = edited(opened(), create("a", "mine"), create("s", "guess", Source.SUGGESTED), create("t", "fine", Source.ACCEPTED))
    assert [box.text for box in content_to_submit(edit.page, edit.content)] == ["mine", "fine"]


def test_a_box_whose_text_was_never_typed_is_not_submitted() -> None:
    edit = edited(opened(), create("a", " "))
    with pytest.raises(BoxInvalid, match="Box a has no text"):
        content_to_submit(edit.page, edit.content)


def test_a_stale_sequence_is_refused() -> None:
    page = edited(opened(), create("a")).page
    check_sequence(page, 0)
    check_sequence(page, 1)
    with pytest.raises(Conflict):
        check_sequence(page, 2)


def test_suggestions_leave_out_what_cannot_stand_on_the_page() -> None:
    run = Prelabel("pre-1", "default", "cards", "projects/default/models/base", AT, AT)
    lines = [
        SuggestedLine(QUAD, " one ", 1.5),
        SuggestedLine(QUAD, "", 0.9),
        SuggestedLine(((200, 10), (260, 10), (260, 30), (200, 30)), "outside", 0.9),
    ]
    (operation,) = run.suggestions(lines, width_px=100, height_px=80)
    assert isinstance(operation.kind, CreateBox)
    box = operation.kind.box
    assert (box.box_id, box.text, box.source, box.confidence, box.model) == ("pre-1-1", "one", Source.SUGGESTED, 1.0, run.model)
