"""People at work on an installation whose processes are killed at the worst moments."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from inkwright.trainer.v1 import task_pb2
from libs.client.inkwright import LABELING, Inkwright
from libs.client.rest import ApiError, RestClient, Unreachable
from libs.demo.installation import Running, installation
from libs.runtime.settings import CHECKOUT
from tests.chaos.history import Call, History, Kind, Outcome, Seen, violations
from tests.chaos.look import is_at_rest, look
from tests.chaos.points import POINTS
from tests.integration.pictures import write_image
from tests.integration.processes import mentioning
from tests.postgres import postgres_server

NUM_IMAGES = 6
NUM_WORKERS = 3
IMAGES_A_DATASET = 2
CALL_SECONDS = 10.0
BREATH_SECONDS = 0.1
KILL_SECONDS = 30.0
RECOVER_SECONDS = 60.0
QUIET_SECONDS = 60.0

ANYWHERE = (("nats", "anywhere"), ("gateway", "anywhere"), ("inference", "anywhere"))
"""Processes that are killed wherever they are."""

T = TypeVar("T")


@dataclass(frozen=True)
class Kill:
    """One kill that landed.

    Args:
        process: which.
        point: where.
        num_in_flight: calls that had no answer yet.
        recovered_seconds: until a call that needs the process succeeded again.
    """

    process: str
    point: str
    num_in_flight: int
    recovered_seconds: float


@dataclass
class Result:
    """What a storm came to."""

    kills: list[Kill] = field(default_factory=list)
    missed: dict[str, int] = field(default_factory=dict)
    """Points nobody came by in time, or where nothing was in flight: they do not count."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Storm:
    """An installation, threads that work on it, and kills.

    Args:
        running: the installation.
        folder: below its allowed roots.
        chaos: where points are armed.
        seed: of everything that is chosen.
    """

    def __init__(self, running: Running, folder: Path, chaos: Path, seed: int) -> None:
        self.history = History()
        self._running = running
        self._folder = folder
        self._chaos = chaos
        self._seed = seed
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._images_of: dict[str, int] = {}
        self._client = self._new_client()
        self._pages: list[str] = []
        self._num_tasks = 0

    def prepare(self) -> None:
        """A data set whose pages are open and labelled, so that there is something to train on."""
        for number in range(NUM_IMAGES):
            write_image(self._folder / "cards" / f"{number}.png", width_px=400, height_px=300, grey=120 + 15 * number)
        self._images_of[self._client.full_name("datasets", "cards")] = NUM_IMAGES
        self._create(self._client, "cards", self._folder / "cards")
        _eventually(partial(self._is_ready, "cards"), RECOVER_SECONDS)
        self._pages = [image.name.replace("/images/", "/pages/") for image in self._client.list_images("cards")]
        for page in self._pages:
            self._apply(self._client, page)
            self._submit(self._client, page)

    def close(self) -> None:
        """Close the connections."""
        self._client.rest.close()

    def run(self, num_kills: int) -> Result:
        """Work and kill until so many kills have landed, then wait for quiet and look."""
        began = time.monotonic()
        result = Result()
        with self.at_work():
            bag: list[tuple[str, str]] = []
            while len(result.kills) < num_kills:
                # Every place once in a seeded order, then all over again.
                bag = bag or self._random.sample([*POINTS, *ANYWHERE], len(POINTS) + len(ANYWHERE))
                process, point = bag.pop()
                kill = self._kill(process, point)
                if kill is None:
                    place = f"{process}.{point}"
                    result.missed[place] = result.missed.get(place, 0) + 1
                else:
                    result.kills.append(kill)
        result.violations = violations(self.history.calls, self.seen())
        result.outcomes = self.history.counts()
        result.seconds = time.monotonic() - began
        return result

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """People work for as long as the block takes."""
        workers = [threading.Thread(target=self._work, args=(self._seed * 1000 + number,)) for number in range(NUM_WORKERS)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stopping.set()
            for worker in workers:
                worker.join()

    def moved(self, running: Running) -> "Storm":
        """The same people, with what they did, on another installation that has the same data."""
        storm = Storm(running, self._folder, self._chaos, self._seed)
        storm.history, storm._pages, storm._images_of = self.history, self._pages, self._images_of
        return storm

    def _new_client(self) -> Inkwright:
        return Inkwright(RestClient(self._running.url, self._running.token, timeout_seconds=CALL_SECONDS))

    def _work(self, seed: int) -> None:
        chance, client = random.Random(seed), self._new_client()
        number = 0
        while not self._stopping.is_set():
            number += 1
            what, page = chance.random(), chance.choice(self._pages)
            if what < 0.75:
                self._apply(client, page)
            elif what < 0.95:
                self._submit(client, page)
            else:
                dataset = f"d{seed}-{number}"
                for image in range(IMAGES_A_DATASET):
                    write_image(self._folder / dataset / f"{image}.png")
                self._images_of[client.full_name("datasets", dataset)] = IMAGES_A_DATASET
                self._create(client, dataset, self._folder / dataset)
        client.rest.close()

    def _apply(self, client: Inkwright, page: str) -> Call:
        with self.history.call(Kind.APPLY, page) as call:
            left, top = 4.0 * (call.number % 90), 4.0 * (call.number // 90 % 70)
            corners = ((left, top), (left + 30, top), (left + 30, top + 12), (left, top + 12))
            box = page_pb2.Box(box_id=call.operation_id, text=f"text {call.number}")
            box.quad.points.extend(geometry_pb2.Point(x=x, y=y) for x, y in corners)
            operation = page_pb2.Operation(operation_id=call.operation_id, create_box=page_pb2.CreateBox(box=box))
            found = _asked(call, lambda: client.apply_operations(page, [operation]))
            if found is not None:
                call.version = found.sequence
        return call

    def _submit(self, client: Inkwright, page: str, *, overwrite: bool = False) -> Call:
        request = labeling_service_pb2.SubmitPageRequest(name=page, overwrite=overwrite)
        with self.history.call(Kind.SUBMIT, page) as call:
            found = _asked(call, lambda: client.rest.call(LABELING, "SubmitPage", request, page_pb2.Page))
            if found is not None:
                call.version, call.submitted = found.sequence, found.submitted_sequence
        return call

    def _submit_over(self, page: str) -> bool:
        return self._submit(self._client, page, overwrite=True).outcome is Outcome.OK

    def _is_ready(self, dataset: str) -> bool:
        return self._client.get_dataset(dataset).state == dataset_pb2.Dataset.READY

    def _create(self, client: Inkwright, dataset: str, folder: Path) -> None:
        with self.history.call(Kind.CREATE, client.full_name("datasets", dataset)) as call:
            _asked(call, lambda: client.create_dataset(dataset, path=str(folder)))

    def _kill(self, process: str, point: str) -> Kill | None:
        """``None`` when it did not land, or hit nobody."""
        if point == "anywhere":
            in_flight = self.history.num_in_flight
            os.kill(_pid_of(process, self._running.home), signal.SIGKILL)
        else:
            armed = self._chaos / f"{process}.{point}"
            armed.touch()
            if process == "trainer":
                self._begin_task()
            try:
                _eventually(lambda: not armed.exists(), KILL_SECONDS)
            except TimeoutError:
                armed.unlink(missing_ok=True)
                return None
            # A task is in flight from its creation to its end.
            in_flight = self.history.num_in_flight + (process == "trainer")
        began = time.monotonic()
        _eventually(lambda: self._answers(process), RECOVER_SECONDS)
        kill = Kill(process, point, in_flight, time.monotonic() - began)
        if process == "trainer":
            self._end_task()
        return kill if in_flight else None

    def _answers(self, process: str) -> bool:
        match process:
            case "labeling" | "nats":
                # A fact has to travel from the one to the other, so the bus is there as well.
                self._client.get_page(self._pages[0])
            case "trainer":
                self._client.list_tasks()
            case "inference":
                self._client.list_deployments()
            case _:
                self._client.list_datasets()
        return True

    def _begin_task(self) -> None:
        self._num_tasks += 1
        self._client.create_task(f"t{self._num_tasks}", task_pb2.Task(dataset="cards"))

    def _end_task(self) -> None:
        """The node whose record was lost is recorded after all, once; then nobody needs the task."""
        name = f"t{self._num_tasks}"

        def recorded() -> bool:
            task = self._client.get_task(name)
            return task.nodes[0].state == task_pb2.Node.SUCCEEDED or task.state == task_pb2.Task.FAILED

        _eventually(recorded, RECOVER_SECONDS)
        task = self._client.get_task(name)
        if task.state not in (task_pb2.Task.FAILED, task_pb2.Task.SUCCEEDED):
            self._client.terminate_task(name)

    def seen(self) -> Seen:
        """Once what was under way has come to rest. A person whose submission got no answer submits again."""
        client = self._client
        for page in self._pages:
            mine = [call for call in self.history.calls if call.target == page and call.kind is Kind.SUBMIT]
            if mine and mine[-1].outcome is not Outcome.OK:
                _eventually(partial(self._submit_over, page), QUIET_SECONDS)
        names = [dataset.name for dataset in client.list_datasets()]
        for name in names:
            _eventually(partial(self._is_ready, name), QUIET_SECONDS)
        with _patience():
            _eventually(lambda: is_at_rest(client, self._folder / "cards", self._pages), QUIET_SECONDS)
        return look(client, self._folder / "cards", self._pages, self._images_of)


def _asked(call: Call, ask: Callable[[], T]) -> T | None:
    """Ask, and note how it ended; people take a breath before they try again."""
    try:
        answer = ask()
    except ApiError as error:
        if 400 <= error.status < 500:
            call.outcome = Outcome.FAILED
    except Unreachable:
        pass
    else:
        call.outcome = Outcome.OK
        return answer
    time.sleep(BREATH_SECONDS)
    return None


def _eventually(check: Callable[[], bool], seconds: float) -> None:
    """Wait until ``check`` holds; a refusal or no answer counts as not yet.

    Raises:
        TimeoutError: it never did.
    """
    end = time.monotonic() + seconds
    while True:
        reason = "it is not so"
        try:
            if check():
                return
        except (ApiError, Unreachable) as error:
            reason = str(error)
        if time.monotonic() > end:
            raise TimeoutError(reason)
        time.sleep(0.05)


@contextmanager
def _patience() -> Iterator[None]:
    """What does not come to rest is what the checker is there to name."""
    try:
        yield
    except TimeoutError as error:
        print(f"not at rest: {error}", file=sys.stderr)


def _pid_of(process: str, home: Path) -> int:
    mark = {"nats": "nats-server", "gateway": "gateway.main", "inference": "services.inference.main"}[process]
    end = time.monotonic() + RECOVER_SECONDS
    while time.monotonic() < end:
        found = [pid for pid, command in mentioning(f"INKWRIGHT_HOME={home}").items() if mark in command]
        if found:
            return max(found)
        time.sleep(0.1)
    raise TimeoutError(f"{process} is not running")


@contextmanager
def storm(folder: Path, *, seed: int, database: str = "sqlite") -> Iterator[Storm]:
    """A prepared storm on an installation of its own; all state lies in ``folder``."""
    with ExitStack() as stack:
        env = {"PYTHONPATH": f"{CHECKOUT / 'tests' / 'chaos' / 'site'}:{CHECKOUT}", "INKWRIGHT_CHAOS": str(folder / "chaos")}
        if database == "postgresql":
            postgres = stack.enter_context(postgres_server())
            name = postgres.new_database()
            for service in ("dataset", "labeling", "trainer", "inference"):
                env[f"INKWRIGHT_{service.upper()}_DATABASE_URL"] = postgres.url(service, name)
        for part in ("chaos", "roots"):
            (folder / part).mkdir()
        running = stack.enter_context(installation(folder / "home", folder / "roots", env=env))
        made = Storm(running, folder / "roots", folder / "chaos", seed)
        stack.callback(made.close)
        made.prepare()
        yield made
