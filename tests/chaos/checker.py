"""Whether what stands on an installation agrees with what was asked of it.

The idea is Jepsen's: a call that failed must have had no effect, one that succeeded must have had its effect once, and one whose
answer was lost may have had it once or not at all. Source: https://jepsen.io/consistency, https://github.com/jepsen-io/jepsen.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.history import Call, Kind, Outcome

PASSING_CODES: Final = frozenset({2001, 2002, 408, 450})
"""What the public API may answer to a good request while processes die: an instance died with it, none is there, too late, too many."""


@dataclass(frozen=True)
class Logged:
    """An operation in a page's log.

    Args:
        adds: id of the box it creates.
        removes: id of the box it deletes.
        by_model: nobody asked for it, a model suggested it.
    """

    operation_id: str
    adds: str = ""
    removes: str = ""
    by_model: bool = False


@dataclass
class PageSeen:
    """A page once everything is quiet.

    Args:
        log: its operations, in order.
        sequence: of the page.
        submitted_sequence: up to where its labels were written.
        boxes: ids of its boxes.
        file_boxes: how many boxes its label file has; ``None`` without a file.
        index_boxes: how many the data set's index says; ``None`` where it does not say that the page was submitted.
    """

    log: Sequence[Logged]
    sequence: int
    submitted_sequence: int
    boxes: set[str]
    file_boxes: int | None = None
    index_boxes: int | None = None

    def boxes_at(self, sequence: int) -> set[str]:
        """Ids of the boxes after so many operations of the log."""
        found: set[str] = set()
        for logged in self.log[:sequence]:
            found = (found | {logged.adds}) - {logged.removes, ""}
        return found


@dataclass(frozen=True)
class TaskSeen:
    """A training task: word of its state, why it failed, its version, its model, and every model that says it is of this task."""

    state: str
    error: str = ""
    version: str = ""
    model: str = ""
    models: tuple[str, ...] = ()


@dataclass
class Seen:
    """Everything that can be looked at once it is quiet.

    Args:
        pages: by name.
        datasets: names, and how many images the index of each has.
        images_of: how many images lie in the folder of each data set that was asked for.
        tasks: by name.
        versions: every frozen version of any data set.
        deployments: names, and the word of each one's state.
        texts: what each bundle, by digest, reads in the picture that everybody sends.
        num_dead_letters: messages that were given up.
    """

    pages: Mapping[str, PageSeen] = field(default_factory=dict)
    datasets: Mapping[str, int] = field(default_factory=dict)
    images_of: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, TaskSeen] = field(default_factory=dict)
    versions: Sequence[str] = ()
    deployments: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    num_dead_letters: int = 0


def violations(calls: Iterable[Call], seen: Seen) -> list[str]:
    """What must not be: lost, unasked, doubled, gone back, answered wrongly. Empty when all is well."""
    calls = list(calls)
    found = [f"call {call.number} never ended" for call in calls if call.outcome is None]
    for name, page in seen.pages.items():
        found += _of_page(name, page, [call for call in calls if call.target == name])
    found += _of_datasets(seen, [call for call in calls if call.kind is Kind.CREATE])
    found += _of_tasks(seen, [call for call in calls if call.kind is Kind.TRAIN])
    found += _of_deployments(seen, [call for call in calls if call.kind is Kind.DEPLOY])
    found += _of_predictions(seen, calls)
    if seen.num_dead_letters:
        found.append(f"{seen.num_dead_letters} messages were given up")
    return found


def _of_page(name: str, page: PageSeen, calls: list[Call]) -> Iterator[str]:
    counted = Counter(logged.operation_id for logged in page.log)
    # One that got no answer was perhaps sent again: what counts is the best answer.
    outcomes: dict[str, set[Outcome | None]] = {}
    for call in calls:
        for operation_id in call.operations:
            outcomes.setdefault(operation_id, set()).add(call.outcome)
    for operation_id, ended in outcomes.items():
        times = counted[operation_id]
        if Outcome.OK in ended and times != 1:
            yield f"{name}: {operation_id} was acknowledged and stands {times} times in the log"
        if ended == {Outcome.FAILED} and times:
            yield f"{name}: {operation_id} was refused and took effect"
    for operation_id, times in counted.items():
        if times > 1:
            yield f"{name}: {operation_id} took effect {times} times"
    asked = outcomes.keys() | {logged.operation_id for logged in page.log if logged.by_model}
    for operation_id in counted.keys() - asked:
        yield f"{name}: {operation_id} was never asked for"
    for box_id in page.boxes ^ page.boxes_at(len(page.log)):
        yield f"{name}: box {box_id} stands {int(box_id in page.boxes)} times on the page, against its log"
    if page.sequence != len(page.log):
        yield f"{name}: sequence {page.sequence} after {len(page.log)} operations"
    yield from _only_grows(name, page, calls)
    yield from _of_file(name, page, [call for call in calls if call.kind is Kind.SUBMIT])


def _only_grows(name: str, page: PageSeen, calls: list[Call]) -> Iterator[str]:
    answered = [call for call in calls if call.outcome is Outcome.OK and call.ended is not None]
    for call in answered:
        if call.version > page.sequence:
            yield f"{name}: call {call.number} was told version {call.version}, now it is {page.sequence}"
    # Whoever asks after another was answered sees at least what that one saw.
    ends = sorted(answered, key=lambda call: call.ended or 0.0)
    begins = sorted(answered, key=lambda call: call.began)
    highest, at = 0, 0
    for call in begins:
        while at < len(ends) and (ends[at].ended or 0.0) < call.began:
            highest = max(highest, ends[at].version)
            at += 1
        if call.version < highest:
            yield f"{name}: call {call.number} was told version {call.version} after somebody had been told {highest}"


def _of_file(name: str, page: PageSeen, submits: list[Call]) -> Iterator[str]:
    acknowledged = max((call.submitted for call in submits if call.outcome is Outcome.OK), default=0)
    if page.submitted_sequence < acknowledged:
        yield f"{name}: version {acknowledged} was submitted, the page says {page.submitted_sequence}"
    if not submits and (page.submitted_sequence or page.file_boxes is not None):
        yield f"{name}: nobody submitted it, yet it was"
    if not page.submitted_sequence:
        return
    # Of a submission without an answer the file may be written and the page not know.
    may_have = {len(page.boxes_at(sequence)) for sequence in range(page.submitted_sequence, page.sequence + 1)}
    if page.file_boxes not in may_have:
        yield f"{name}: version {page.submitted_sequence} was submitted, its label file has {page.file_boxes} boxes"
    if page.index_boxes != page.file_boxes:
        yield f"{name}: its label file has {page.file_boxes} boxes, the index says {page.index_boxes}"


def _of_datasets(seen: Seen, creates: list[Call]) -> Iterator[str]:
    yield from _made(creates, seen.datasets, "creation")
    for name in seen.datasets:
        if seen.datasets[name] != seen.images_of.get(name):
            yield f"{name}: the index has {seen.datasets[name]} images of {seen.images_of.get(name)}"


def _of_tasks(seen: Seen, trainings: list[Call]) -> Iterator[str]:
    yield from _made(trainings, seen.tasks, "end")
    for name, task in seen.tasks.items():
        # Nothing is wrong with what is to be trained: dying processes are no reason to fail.
        if task.state != "SUCCEEDED":
            yield f"{name}: it ended {task.state}: {task.error}"
        elif task.models != (task.model,):
            yield f"{name}: it made {task.model}, its models are {', '.join(task.models) or 'none'}"
    frozen = Counter(seen.versions)
    frozen.subtract(task.version for task in seen.tasks.values() if task.version)
    for version, surplus in frozen.items():
        if surplus:
            yield f"{version}: frozen {surplus} times more than tasks have it"


def _of_deployments(seen: Seen, deploys: list[Call]) -> Iterator[str]:
    yield from _made(deploys, seen.deployments, "start")
    for name, state in seen.deployments.items():
        if state != "RUNNING":
            yield f"{name}: it is {state}"


def _made(calls: list[Call], seen: Mapping[str, object], what: str) -> Iterator[str]:
    outcomes: dict[str, set[Outcome | None]] = {}
    for call in calls:
        outcomes.setdefault(call.target, set()).add(call.outcome)
    for name, ended in outcomes.items():
        if Outcome.OK in ended and name not in seen:
            yield f"{name}: its {what} was acknowledged and it is not there"
        if ended == {Outcome.FAILED} and name in seen:
            yield f"{name}: its {what} was refused and it is there"
    for name in seen.keys() - outcomes.keys():
        yield f"{name}: it was never asked for"


def _of_predictions(seen: Seen, calls: list[Call]) -> Iterator[str]:
    deployed: dict[str, set[str]] = {}
    for call in calls:
        if call.kind is Kind.DEPLOY:
            deployed.setdefault(call.target, set()).add(call.model)
    for call in calls:
        if call.kind is not Kind.PREDICT:
            continue
        if call.outcome is Outcome.OK:
            if call.model not in deployed.get(call.target, ()):
                yield f"{call.target}: call {call.number} was read by {call.model[:12] or 'nothing'}, which was never deployed there"
            elif call.text != seen.texts.get(call.model):
                yield f"{call.target}: call {call.number} read {list(call.text)}, its model reads {list(seen.texts.get(call.model, ()))}"
        elif call.code and call.code not in PASSING_CODES:
            yield f"{call.target}: call {call.number} was answered with {call.code}, and nothing was wrong with it"
