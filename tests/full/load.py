"""People who call without a pause and write down every call that failed."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from libs.client.inkwright import Inkwright
from libs.client.rest import ApiError, RestClient, Unreachable

HEAL_SECONDS = 60.0
ROUND_SECONDS = 120.0
PAUSE_SECONDS = 0.02
ALREADY_DONE = ("ALREADY_EXISTS", "NOT_FOUND")
"""What a repeated creation or deletion says where the first try had its effect and lost its answer."""

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """A call that failed.

    Args:
        what: it was about.
        began, ended: by the monotonic clock.
        error: what it said.
        has_healed: whether the same call succeeded when it was repeated.
    """

    what: str
    began: float
    ended: float
    error: str
    has_healed: bool


class NotRead(Exception):
    """The public API gave an error in place of an answer."""


@dataclass
class Person:
    """One who calls; at most one call of a person is in flight."""

    name: str
    client: Inkwright
    failures: list[Failure] = field(default_factory=list)
    num_calls: int = 0
    num_rounds: int = 0

    def ask(self, what: str, call: Callable[[], T]) -> T | None:
        """Call, and again until it succeeds when it fails; ``None`` where the first try turned out to be done already."""
        began = time.monotonic()
        try:
            answer = call()
        except (ApiError, Unreachable, NotRead) as error:
            ended = time.monotonic()
            healed, late = self._again(call)
            self.failures.append(Failure(f"{self.name}: {what}", began, ended, repr(error), healed))
            return late
        self.num_calls += 1
        return answer

    def _again(self, call: Callable[[], T]) -> tuple[bool, T | None]:
        end = time.monotonic() + HEAL_SECONDS
        while time.monotonic() < end:
            time.sleep(0.1)
            try:
                return True, call()
            except ApiError as error:
                if error.reason in ALREADY_DONE:
                    return True, None
            except (Unreachable, NotRead):
                pass
        return False, None


Round = Callable[[Person, int], None]
"""What a person does over and over; told how often it was done before."""


class Load:
    """Several people at work."""

    def __init__(self, people: Sequence[Person], working: Sequence[Future[None]]) -> None:
        self._people = people
        self._working = working

    @property
    def failures(self) -> list[Failure]:
        """Of all, by the time they began."""
        return sorted((failure for person in self._people for failure in person.failures), key=lambda failure: failure.began)

    @property
    def num_calls(self) -> int:
        """That succeeded at once."""
        return sum(person.num_calls for person in self._people)

    def go_on(self, num_rounds: int = 2) -> None:
        """Return when everybody has been through so many more rounds."""
        wanted = [person.num_rounds + num_rounds + 1 for person in self._people]
        end = time.monotonic() + ROUND_SECONDS
        while any(person.num_rounds < rounds for person, rounds in zip(self._people, wanted, strict=True)):
            for work in self._working:
                if work.done():
                    work.result()
            assert time.monotonic() < end, [(person.name, person.num_rounds) for person in self._people]
            time.sleep(0.05)


@contextmanager
def load(url: str, token: str, rounds: Mapping[str, Round]) -> Iterator[Load]:
    """People who call for as long as the block takes, by what they are called."""
    stopping = threading.Event()
    people = [Person(name, Inkwright(RestClient(url, token))) for name in rounds]

    def work(person: Person) -> None:
        while not stopping.is_set():
            rounds[person.name](person, person.num_rounds)
            person.num_rounds += 1
            time.sleep(PAUSE_SECONDS)
        person.client.rest.close()

    with ThreadPoolExecutor(len(people)) as pool:
        working = [pool.submit(work, person) for person in people]
        try:
            yield Load(people, working)
        finally:
            stopping.set()
    for done in working:
        done.result()
