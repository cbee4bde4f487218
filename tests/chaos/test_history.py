"""The checker finds what is planted and is silent about what may be."""

from dataclasses import replace

import pytest

from tests.chaos.checker import Logged, PageSeen, Seen, TaskSeen, violations
from tests.chaos.history import Call, History, Kind, Outcome

PAGE = "projects/default/datasets/cards/pages/one"
DATASET = "projects/default/datasets/cards"

TASK = "projects/default/tasks/t1"
READER = "projects/default/deployments/base"

CALLS = [
    Call(1, Kind.APPLY, PAGE, 0.0, 1.0, Outcome.OK, version=1, operations=("op-1",)),
    Call(2, Kind.SUBMIT, PAGE, 1.1, 1.5, Outcome.OK, version=1, submitted=1),
    Call(3, Kind.APPLY, PAGE, 1.2, 1.8, Outcome.FAILED, operations=("op-3",)),
    Call(4, Kind.APPLY, PAGE, 1.9, 2.0, Outcome.UNKNOWN, operations=("op-4",)),
    Call(5, Kind.APPLY, PAGE, 2.1, 2.2, Outcome.OK, version=2, operations=("op-5",)),
    Call(6, Kind.CREATE, DATASET, 0.0, 0.5, Outcome.OK),
    Call(7, Kind.TRAIN, TASK, 0.6, 9.0, Outcome.OK),
    Call(8, Kind.DEPLOY, READER, 0.6, 3.0, Outcome.OK, model="b1"),
    Call(9, Kind.PREDICT, READER, 3.1, 3.2, Outcome.OK, model="b1", text=("Tea 2",)),
    Call(10, Kind.PREDICT, READER, 3.3, 3.4, Outcome.FAILED, code=2002),
    Call(11, Kind.PREDICT, READER, 3.5, 3.6, Outcome.UNKNOWN),
]
GOOD_PAGE = PageSeen([Logged("op-1", adds="b-1"), Logged("op-5", adds="b-5")], 2, 1, {"b-1", "b-5"}, file_boxes=1, index_boxes=1)
GOOD_TASK = TaskSeen("SUCCEEDED", version="v1", model="m1", models=("m1",))
GOOD = Seen({PAGE: GOOD_PAGE}, {DATASET: 2}, {DATASET: 2}, {TASK: GOOD_TASK}, ["v1"], {READER: "RUNNING"}, {"b1": ("Tea 2",)})


def seen(*operation_ids: str, **changed: object) -> Seen:
    """The page otherwise; each operation adds a box of its number."""
    if operation_ids:
        changed["log"] = [Logged(operation_id, adds=operation_id.replace("op", "b")) for operation_id in operation_ids]
    return replace(GOOD, pages={PAGE: replace(GOOD_PAGE, **changed)})  # type: ignore[arg-type]


def ended(**changed: object) -> Seen:
    return replace(GOOD, tasks={TASK: replace(GOOD_TASK, **changed)})  # type: ignore[arg-type]


def predicted(**changed: object) -> list[Call]:
    return [*CALLS, replace(Call(12, Kind.PREDICT, READER, 4.0, 4.1, Outcome.OK, model="b1", text=("Tea 2",)), **changed)]  # type: ignore[arg-type]


def test_a_good_history_has_no_violation() -> None:
    assert violations(CALLS, GOOD) == []


def test_a_lost_answer_may_have_had_its_effect() -> None:
    after = [replace(call, version=3) if call.number == 5 else call for call in CALLS]
    assert violations(after, seen("op-1", "op-4", "op-5", sequence=3, boxes={"b-1", "b-4", "b-5"})) == []


def test_what_got_no_answer_may_be_sent_again() -> None:
    again = [*CALLS, Call(12, Kind.APPLY, PAGE, 3.0, 3.1, Outcome.OK, version=3, operations=("op-4",))]
    assert violations(again, seen("op-1", "op-5", "op-4", sequence=3, boxes={"b-1", "b-4", "b-5"})) == []
    assert violations(again, GOOD) != []


def test_suggestions_are_asked_for_by_nobody_and_boxes_may_be_deleted() -> None:
    log = [*GOOD_PAGE.log, Logged("s-1", adds="b-9", by_model=True)]
    assert violations(CALLS, seen(log=log, sequence=3, boxes={"b-1", "b-5", "b-9"})) == []
    deletes = [*CALLS, Call(12, Kind.APPLY, PAGE, 3.0, 3.1, Outcome.OK, version=4, operations=("op-12",))]
    deleted = seen(log=[*log, Logged("op-12", removes="b-9")], sequence=4, boxes={"b-1", "b-5"})
    assert violations(deletes, deleted) == []


@pytest.mark.parametrize(
    ("what", "word"),
    [
        (seen("op-5", sequence=1, boxes={"b-5"}), "op-1 was acknowledged and stands 0 times"),
        (seen("op-1", "op-1", "op-5", sequence=3), "op-1 took effect 2 times"),
        (seen("op-1", "op-3", "op-5", sequence=3, boxes={"b-1", "b-3", "b-5"}), "op-3 was refused and took effect"),
        (seen("op-1", "op-5", "op-9", sequence=3), "op-9 was never asked for"),
        (seen(boxes={"b-1"}), "box b-5 stands 0 times on the page, against its log"),
        (seen(boxes={"b-1", "b-5", "b-6"}), "box b-6 stands 1 times on the page, against its log"),
        (seen(sequence=1), "was told version 2, now it is 1"),
        (seen(submitted_sequence=0), "version 1 was submitted, the page says 0"),
        (seen(file_boxes=None), "its label file has None boxes"),
        (seen(file_boxes=3), "its label file has 3 boxes"),
        (seen(index_boxes=0), "the index says 0"),
        (replace(GOOD, datasets={}), "acknowledged and it is not there"),
        (replace(GOOD, datasets={DATASET: 1}), "has 1 images of 2"),
        (replace(GOOD, datasets={DATASET: 2, "other": 2}, images_of={DATASET: 2, "other": 2}), "other: it was never asked for"),
        (replace(GOOD, tasks={}), "t1: its end was acknowledged and it is not there"),
        (ended(state="FAILED", error="memory"), "t1: it ended FAILED: memory"),
        (ended(models=("m1", "m1-2")), "t1: it made m1, its models are m1, m1-2"),
        (ended(models=()), "t1: it made m1, its models are none"),
        (replace(GOOD, versions=["v1", "v2"]), "v2: frozen 1 times more than tasks have it"),
        (replace(GOOD, deployments={}), "base: its start was acknowledged and it is not there"),
        (replace(GOOD, deployments={READER: "CREATING"}), "base: it is CREATING"),
        (replace(GOOD, num_dead_letters=1), "1 messages were given up"),
    ],
)
def test_what_is_planted_is_found(what: Seen, word: str) -> None:
    assert any(word in line for line in violations(CALLS, what)), violations(CALLS, what)


@pytest.mark.parametrize(
    ("calls", "word"),
    [
        (predicted(model="b2"), "call 12 was read by b2, which was never deployed there"),
        (predicted(text=("Tea 3",)), "call 12 read ['Tea 3'], its model reads ['Tea 2']"),
        (predicted(outcome=Outcome.FAILED, code=404), "call 12 was answered with 404"),
        (predicted(outcome=Outcome.FAILED, code=2003), "call 12 was answered with 2003"),
    ],
)
def test_predictions_are_right_or_refused_for_a_passing_reason(calls: list[Call], word: str) -> None:
    assert [line for line in violations(calls, GOOD) if word in line] == violations(calls, GOOD) != []


def test_versions_must_not_go_back() -> None:
    back = [*CALLS, Call(12, Kind.SUBMIT, PAGE, 3.0, 3.1, Outcome.OK, version=1, submitted=1)]
    assert violations(back, GOOD) == [f"{PAGE}: call 12 was told version 1 after somebody had been told 2"]
    # Side by side, either may be first.
    beside = [*CALLS, Call(12, Kind.SUBMIT, PAGE, 2.15, 2.3, Outcome.OK, version=1, submitted=1)]
    assert violations(beside, GOOD) == []


def test_a_history_notes_calls_and_what_was_never_answered() -> None:
    history = History()
    with history.call(Kind.APPLY, PAGE) as call:
        assert history.num_in_flight() == 1
        assert history.num_in_flight(without=[Kind.APPLY]) == 0
        call.outcome = Outcome.OK
    with pytest.raises(ZeroDivisionError), history.call(Kind.APPLY, PAGE):
        raise ZeroDivisionError
    assert history.num_in_flight() == 0
    assert history.counts() == {"OK": 1, "UNKNOWN": 1}
    assert history.counts_by_kind() == {"APPLY": history.counts()}
