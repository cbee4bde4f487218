"""People at work on an installation whose processes are killed at the worst moments."""

import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from inkwright.trainer.v1 import task_pb2
from libs.demo.installation import Running, installation
from libs.runtime.settings import CHECKOUT
from tests.chaos.checker import Seen, violations
from tests.chaos.history import History, Kind, Outcome
from tests.chaos.killer import ANYWHERE, RECOVER_SECONDS, Kill, Killer, eventually
from tests.chaos.look import is_at_rest, look
from tests.chaos.people import Person
from tests.chaos.points import POINTS
from tests.integration.pictures import write_image, write_labels
from tests.integration.trainer_stage import draw_page
from tests.postgres import postgres_server

NUM_IMAGES = 6
NUM_PAGES = 4
"""What is trained on: as little as a task can do with."""
NUM_WORKERS = 3
IMAGES_A_DATASET = 2
QUIET_SECONDS = 60.0
MAX_TRIES = 3
"""Of a node; the trainer gives up one whose process vanished so often."""

PLACES = (*POINTS, *((process, ANYWHERE) for process in ("nats", "gateway", "inference", "instance", "node")))
OF_TRAINING = frozenset({"trainer", "node"})
"""Processes that are hit while a task needs them."""

SETTINGS = {
    "INKWRIGHT_TRAINER_MAX_TRAINING_SECONDS": "2",
    "INKWRIGHT_TRAINER_THREADS": "1",
    "INKWRIGHT_TRAINER_LEASE_SECONDS": "5",
}
"""A task is short, and is taken up soon after its worker is gone."""


@dataclass
class Result:
    """What a storm came to."""

    kills: list[Kill] = field(default_factory=list)
    missed: dict[str, int] = field(default_factory=dict)
    """Points nobody came by in time, or where nothing was in flight: they do not count."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    by_kind: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The same, apart for each kind of call."""
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Storm:
    """An installation, threads that work on it, and kills.

    Args:
        running: the installation.
        folder: below its allowed roots.
        chaos: where points are armed.
        seed: of everything that is chosen.
        history: where calls are noted.
    """

    def __init__(self, running: Running, folder: Path, chaos: Path, seed: int, *, history: History | None = None) -> None:
        self.history = history or History()
        self._running = running
        self._folder = folder
        self._chaos = chaos
        self._seed = seed
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._images_of: dict[str, int] = {}
        self._me = self._new_person()
        self._trainee = self._new_person()
        self._client = self._me.client
        self._pages: list[str] = []
        self._readers: list[str] = []
        self._picture = folder / "pages" / "page000.png"
        self._task_wanted = threading.Event()
        self._task = ""

    def prepare(self) -> None:
        """A data set whose pages are open and labelled, so that there is something to work on."""
        for number in range(NUM_IMAGES):
            write_image(self._folder / "cards" / f"{number}.png", width_px=400, height_px=300, grey=120 + 15 * number)
        self._create(self._me, "cards", NUM_IMAGES)
        self._pages = [image.name.replace("/images/", "/pages/") for image in self._client.list_images("cards")]
        for page in self._pages:
            self._me.apply(page)
            self._me.submit(page)

    def prepare_reading(self) -> None:
        """A data set to train on, and a deployment that reads the first of its pages."""
        (self._folder / "pages").mkdir()
        for number in range(NUM_PAGES):
            page = draw_page(number)
            (self._folder / "pages" / page.key).write_bytes(page.data)
            corners = [(box.text, box.quad.points) for box in page.boxes or ()]
            boxes = [(text, (points[0].x, points[0].y, points[2].x, points[2].y)) for text, points in corners]
            write_labels((self._folder / "pages" / page.key).with_suffix(".xml"), boxes)
        self._create(self._me, "pages", NUM_PAGES)
        self._deploy("base", "ppocrv6-small")

    def close(self) -> None:
        """Close the connections."""
        self._me.close()
        self._trainee.close()

    def run(self, num_kills: int) -> Result:
        """Work and kill until so many kills have landed, then wait for quiet and look."""
        began = time.monotonic()
        result = Result()
        with self.at_work():
            bag: list[tuple[str, str]] = []
            while len(result.kills) < num_kills:
                # Every place once in a seeded order, then all over again.
                bag = bag or self._random.sample(PLACES, len(PLACES))
                process, point = bag.pop()
                kill = self._kill(process, point)
                if kill is None:
                    place = f"{process}.{point}"
                    result.missed[place] = result.missed.get(place, 0) + 1
                else:
                    result.kills.append(kill)
        result.violations = violations(self.history.calls, self.seen())
        result.outcomes = self.history.counts()
        result.by_kind = self.history.counts_by_kind()
        result.seconds = time.monotonic() - began
        return result

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """People work for as long as the block takes; a task that was begun is waited for."""
        workers = [threading.Thread(target=self._work, args=(self._seed * 1000 + number,)) for number in range(NUM_WORKERS)]
        workers.append(threading.Thread(target=self._train))
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._stopping.set()
            for worker in workers:
                worker.join()

    def want_task(self) -> None:
        """Have a task begin where none is under way."""
        self._task_wanted.set()

    def train_on(self, task_id: str) -> task_pb2.Task:
        """Wait for the end of a task that was begun before; asked for under its request id it is the same."""
        task = self._me.train(task_id, "pages")
        assert task is not None, f"{task_id} did not end"
        return task

    def break_off(self) -> None:
        """Nobody waits any more for what goes on by itself."""
        self._trainee.leave()

    def moved(self, running: Running) -> "Storm":
        """The same people, with what they did, on another installation that has the same data."""
        storm = Storm(running, self._folder, self._chaos, self._seed, history=self.history)
        storm._pages, storm._images_of = self._pages, self._images_of
        storm._readers = self._readers
        return storm

    def _new_person(self) -> Person:
        return Person(self._running.url, self._running.token, self.history)

    def _work(self, seed: int) -> None:
        chance, person = random.Random(seed), self._new_person()
        number = 0
        while not self._stopping.is_set():
            number += 1
            what, page = chance.random(), chance.choice(self._pages)
            if what < 0.7:
                person.apply(page)
            elif what < 0.85:
                person.submit(page)
            elif what < 0.95 and self._readers:
                person.predict(chance.choice(self._readers), self._picture.read_bytes())
            else:
                dataset = f"d{seed}-{number}"
                for image in range(IMAGES_A_DATASET):
                    write_image(self._folder / dataset / f"{image}.png")
                self._images_of[person.client.full_name("datasets", dataset)] = IMAGES_A_DATASET
                person.create_dataset(dataset, self._folder / dataset)
        person.close()

    def _train(self) -> None:
        """A task to its end whenever one is wanted; what the first one makes is deployed beside the base."""
        person, number = self._trainee, 0
        while not self._stopping.is_set():
            if not self._task_wanted.wait(0.2):
                continue
            number += 1
            self._task = f"t{number}"
            task = person.train(self._task, "pages")
            self._task = ""
            self._task_wanted.clear()
            if task is not None and task.model and number == 1:
                self._deploy("trained", task.model, person)

    def _create(self, person: Person, dataset: str, num_images: int) -> None:
        self._images_of[person.client.full_name("datasets", dataset)] = num_images
        person.create_dataset(dataset, self._folder / dataset)
        eventually(partial(person.is_ready, dataset), RECOVER_SECONDS)

    def _deploy(self, deployment: str, model: str, person: Person | None = None) -> None:
        # The service hears of a model as a fact: until then it is refused.
        eventually(lambda: (person or self._me).deploy(deployment, model) is not None, QUIET_SECONDS)
        self._readers.append(deployment)

    def _kill(self, process: str, point: str) -> Kill | None:
        """``None`` when it did not land, or hit nobody."""
        if process in OF_TRAINING and not self._is_training():
            return None
        # A task is in flight from its creation to its end, which says nothing of the other processes.
        without = () if process in OF_TRAINING else (Kind.TRAIN,)
        killer = Killer(self._running.home, self._chaos, self._random, lambda: self.history.num_in_flight(without=without))
        return killer.kill(process, point, answers=partial(self._answers, process))

    def _is_training(self) -> bool:
        """Have a task begin where none is under way; whether it may lose its process once more."""
        self.want_task()
        tries: list[int] = []

        def has_begun() -> bool:
            tries[:] = [node.attempt for node in self._client.get_task(self._task).nodes]
            return max(tries) > 0

        try:
            eventually(has_begun, RECOVER_SECONDS)
        except TimeoutError:
            # Whoever trains still waits for a deployment.
            return False
        return max(tries) < MAX_TRIES

    def _answers(self, process: str) -> bool:
        match process:
            case "labeling" | "nats":
                # A fact has to travel from the one to the other, so the bus is there as well.
                self._client.get_page(self._pages[0])
            case "trainer" | "node":
                self._client.list_tasks()
            case "inference":
                self._client.list_deployments()
            case "instance":
                return all(self._me.predict(reader, self._picture.read_bytes()).outcome is Outcome.OK for reader in self._readers)
            case _:
                self._client.list_datasets()
        return True

    def seen(self) -> Seen:
        """Once what was under way has come to rest. A person whose submission got no answer submits again."""
        client = self._client
        for page in self._pages:
            mine = [call for call in self.history.calls if call.target == page and call.kind is Kind.SUBMIT]
            if mine and mine[-1].outcome is not Outcome.OK:
                eventually(partial(self._submit_over, page), QUIET_SECONDS)
        for dataset in client.list_datasets():
            eventually(partial(self._me.is_ready, dataset.name), QUIET_SECONDS)
        with _patience():
            eventually(lambda: is_at_rest(client, self._folder / "cards", self._pages), QUIET_SECONDS)
        with _patience():
            eventually(lambda: self._answers("instance"), QUIET_SECONDS)
        return look(client, self._folder / "cards", self._pages, self._images_of, self._picture if self._readers else None)

    def _submit_over(self, page: str) -> bool:
        return self._me.submit(page, overwrite=True).outcome is Outcome.OK


@contextmanager
def _patience() -> Iterator[None]:
    """What does not come to rest is what the checker is there to name."""
    try:
        yield
    except TimeoutError as error:
        print(f"not at rest: {error}", file=sys.stderr)


def with_points(chaos: Path) -> dict[str, str]:
    """Settings of an installation whose processes die at points that are armed in a folder, which is made."""
    chaos.mkdir()
    return {"PYTHONPATH": f"{CHECKOUT / 'tests' / 'chaos' / 'site'}:{CHECKOUT}", "INKWRIGHT_CHAOS": str(chaos)}


@contextmanager
def storm(folder: Path, *, seed: int, database: str = "sqlite") -> Iterator[Storm]:
    """A prepared storm on an installation of its own; all state lies in ``folder``."""
    with ExitStack() as stack:
        env = SETTINGS | with_points(folder / "chaos")
        if database == "postgresql":
            postgres = stack.enter_context(postgres_server())
            name = postgres.new_database()
            for service in ("dataset", "labeling", "trainer", "inference", "gateway"):
                env[f"INKWRIGHT_{service.upper()}_DATABASE_URL"] = postgres.url(service, name)
        (folder / "roots").mkdir()
        running = stack.enter_context(installation(folder / "home", folder / "roots", env=env))
        made = Storm(running, folder / "roots", folder / "chaos", seed)
        stack.callback(made.close)
        made.prepare()
        made.prepare_reading()
        yield made
