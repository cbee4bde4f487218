"""The checker finds what is planted and is silent about what may be."""

from dataclasses import replace

import pytest

from tests.chaos.history import Call, History, Kind, Outcome, PageSeen, Seen, violations

PAGE = "projects/default/datasets/cards/pages/one"
DATASET = "projects/default/datasets/cards"

CALLS = [
    Call(1, Kind.APPLY, PAGE, 0.0, 1.0, Outcome.OK, version=1),
    Call(2, Kind.SUBMIT, PAGE, 1.1, 1.5, Outcome.OK, version=1, submitted=1),
    Call(3, Kind.APPLY, PAGE, 1.2, 1.8, Outcome.FAILED),
    Call(4, Kind.APPLY, PAGE, 1.9, 2.0, Outcome.UNKNOWN),
    Call(5, Kind.APPLY, PAGE, 2.1, 2.2, Outcome.OK, version=2),
    Call(6, Kind.CREATE, DATASET, 0.0, 0.5, Outcome.OK),
]
GOOD_PAGE = PageSeen(["op-1", "op-5"], 2, 1, {"op-1", "op-5"}, file_boxes=1, index_boxes=1)
GOOD = Seen({PAGE: GOOD_PAGE}, {DATASET: 2}, {DATASET: 2})


def seen(**changed: object) -> Seen:
    return replace(GOOD, pages={PAGE: replace(GOOD_PAGE, **changed)})  # type: ignore[arg-type]


def test_a_good_history_has_no_violation() -> None:
    assert violations(CALLS, GOOD) == []


def test_a_lost_answer_may_have_had_its_effect() -> None:
    after = [replace(call, version=3) if call.number == 5 else call for call in CALLS]
    assert violations(after, seen(operation_ids=["op-1", "op-4", "op-5"], sequence=3, boxes={"op-1", "op-4", "op-5"})) == []


@pytest.mark.parametrize(
    ("what", "word"),
    [
        (seen(operation_ids=["op-5"], sequence=1, boxes={"op-5"}), "op-1 was acknowledged and stands 0 times"),
        (seen(operation_ids=["op-1", "op-1", "op-5"], sequence=3), "op-1 took effect 2 times"),
        (seen(operation_ids=["op-1", "op-3", "op-5"], sequence=3, boxes={"op-1", "op-3", "op-5"}), "op-3 was refused and took effect"),
        (seen(operation_ids=["op-1", "op-5", "op-9"], sequence=3), "op-9 was never asked for"),
        (seen(boxes={"op-1"}), "op-5 stands 1 times in the log, its box 0 times"),
        (seen(sequence=1), "was told version 2, now it is 1"),
        (seen(submitted_sequence=0), "version 1 was submitted, the page says 0"),
        (seen(file_boxes=None), "its label file has None boxes"),
        (seen(index_boxes=0), "the index says 0"),
        (replace(GOOD, datasets={}), "acknowledged and it is not there"),
        (replace(GOOD, datasets={DATASET: 1}), "has 1 images of 2"),
        (replace(GOOD, datasets={DATASET: 2, "other": 2}, images_of={DATASET: 2, "other": 2}), "other: it was never asked for"),
        (replace(GOOD, num_dead_letters=1), "1 messages were given up"),
    ],
)
def test_what_is_planted_is_found(what: Seen, word: str) -> None:
    assert any(word in line for line in violations(CALLS, what)), violations(CALLS, what)


def test_versions_must_not_go_back() -> None:
    back = [*CALLS, Call(7, Kind.SUBMIT, PAGE, 3.0, 3.1, Outcome.OK, version=1, submitted=1)]
    assert violations(back, GOOD) == [f"{PAGE}: call 7 was told version 1 after somebody had been told 2"]
    # Side by side, either may be first.
    beside = [*CALLS, Call(7, Kind.SUBMIT, PAGE, 2.15, 2.3, Outcome.OK, version=1, submitted=1)]
    assert violations(beside, GOOD) == []


def test_a_history_notes_calls_and_what_was_never_answered() -> None:
    history = History()
    with history.call(Kind.APPLY, PAGE) as call:
        assert history.num_in_flight == 1
        call.outcome = Outcome.OK
    with pytest.raises(ZeroDivisionError), history.call(Kind.APPLY, PAGE):
        raise ZeroDivisionError
    assert history.num_in_flight == 0
    assert history.counts() == {"OK": 1, "UNKNOWN": 1}
