"""The demo's flow as its users drive it, stage by stage, while a second thread kills what each stage needs."""

import random
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from inkwright.inference.v1 import deployment_pb2
from inkwright.labeling.v1 import page_pb2
from inkwright.trainer.v1 import model_pb2, task_pb2
from libs.client.edits import edits
from libs.demo.flow import corrected
from libs.demo.generator import GeneratedImage, generate
from libs.demo.installation import Running
from tests.chaos.checker import Seen
from tests.chaos.history import Call, History, Kind, Outcome
from tests.chaos.killer import ANYWHERE, RECOVER_SECONDS, Kill, Killer, eventually
from tests.chaos.look import is_at_rest, look
from tests.chaos.people import BREATH_SECONDS, PATIENCE_SECONDS, Person
from tests.chaos.storm import MAX_TRIES, OF_TRAINING
from tests.integration.pictures import write_image

T = TypeVar("T")

NUM_IMAGES: Final = 10
NUM_UNLABELED: Final = 3
SEED: Final = 5
PAUSE_SECONDS: Final = 2.0
"""At most so long between two kills."""

STAGES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "index": (("dataset", "commit-publish"), ("labeling", "effect-ack"), ("gateway", ANYWHERE)),
    "label": (
        ("inference", ANYWHERE),
        ("instance", ANYWHERE),
        ("labeling", "commit-publish"),
        ("dataset", "write-answer"),
        ("nats", ANYWHERE),
    ),
    "train": (
        ("dataset", ANYWHERE),
        ("trainer", ANYWHERE),
        ("node", ANYWHERE),
        ("nats", ANYWHERE),
        ("trainer", "result-record"),
        ("node", ANYWHERE),
        ("gateway", ANYWHERE),
    ),
    "predict": (("inference", ANYWHERE), ("instance", ANYWHERE), ("nats", ANYWHERE), ("instance", ANYWHERE), ("gateway", ANYWHERE)),
}
"""What is killed in each stage; in a seeded order, each a seeded while after the one before was got over."""
NUM_KILLS: Final = sum(len(places) for places in STAGES.values())


class Flow:
    """One person from a folder of photographs to answers over HTTP, and the one who kills.

    Args:
        running: the installation.
        folder: below its allowed roots.
        chaos: where points are armed.
        seed: of the order and the moments of the kills.
    """

    def __init__(self, running: Running, folder: Path, chaos: Path, seed: int) -> None:
        self.history = History()
        self.kills: list[Kill] = []
        self.missed: list[tuple[str, str]] = []
        self._folder = folder
        self._person = Person(running.url, running.token, self.history)
        self._watcher = Person(running.url, running.token, self.history)
        self._chance = random.Random(seed)
        self._killer = Killer(running.home, chaos, self._chance, self.history.num_in_flight)
        self._begun = {stage: threading.Event() for stage in STAGES}
        self._over = {stage: threading.Event() for stage in STAGES}
        self._failure: TimeoutError | None = None
        self._pages: list[str] = []
        self._images_of: dict[str, int] = {}
        self._images: list[GeneratedImage] = []
        self._picture = folder / "picture" / "one.jpg"

    @property
    def truth(self) -> set[str]:
        """What stands in the picture that is read."""
        return {box.text for box in self._images[0].boxes}

    def run(self) -> model_pb2.Model:
        """Walk through all stages; gives the model that was made.

        Raises:
            TimeoutError: something did not come back, or did not end.
        """
        self._images = generate(self._folder / "cards", num_images=NUM_IMAGES, seed=SEED, part="train", num_unlabeled=NUM_UNLABELED)
        self._picture.parent.mkdir()
        shutil.copy(self._images[0].path, self._picture)
        killing = threading.Thread(target=self._kill_all, name="killer")
        killing.start()
        try:
            self._index()
            self._label()
            model = self._train()
            self._deploy_and_predict(model)
        finally:
            for event in self._begun.values():
                event.set()
            killing.join()
        return model

    def close(self) -> None:
        """Close the connections."""
        self._person.close()
        self._watcher.close()

    def _index(self) -> None:
        self._create("cards", self._folder / "cards", NUM_IMAGES)
        # Whoever has a folder has others.
        self._work_while_killed("index", lambda number: self._create_small(f"d{number}"))
        eventually(partial(self._person.is_ready, "cards"), RECOVER_SECONDS)

    def _create_small(self, dataset: str) -> None:
        write_image(self._folder / dataset / "0.png")
        self._create(dataset, self._folder / dataset, 1)

    def _create(self, dataset: str, folder: Path, num_images: int) -> None:
        self._images_of[self._person.client.full_name("datasets", dataset)] = num_images
        self._until_done(lambda: self._person.create_dataset(dataset, folder))

    def _label(self) -> None:
        self._begun["label"].set()
        run = self._person.prelabel("cards")
        assert run is not None
        assert run.state == page_pb2.Prelabel.SUCCEEDED, run.error_message
        assert (run.num_done, run.num_failed) == (NUM_UNLABELED, 0), run
        unlabelled = self._images[-NUM_UNLABELED:]
        self._pages = [self._page_name(image.path.name) for image in unlabelled]
        suggested = 0
        for name, image in zip(self._pages, unlabelled, strict=True):
            page = self._got(partial(self._person.client.get_page, name))
            suggested += page.num_suggestions
            operations = edits(page, corrected(page, image))
            self._until_done(lambda name=name, operations=operations: self._person.apply(name, operations))  # type: ignore[misc]
            self._submit(name)
        assert suggested == run.num_boxes > 0
        self._work_while_killed("label", lambda number: self._look_over(self._pages[number % NUM_UNLABELED]))
        eventually(lambda: self._person.client.get_dataset("cards").counts.num_unlabeled == 0, RECOVER_SECONDS)

    def _look_over(self, name: str) -> None:
        """Say of a box once more what it says, and submit."""
        box = self._got(partial(self._person.client.get_page, name)).boxes[0]
        retype = page_pb2.RetypeBox(box_id=box.box_id, text=box.text)
        operation = page_pb2.Operation(operation_id=uuid.uuid4().hex, retype_box=retype)
        self._until_done(lambda: self._person.apply(name, [operation]))
        self._submit(name)

    def _submit(self, name: str) -> None:
        # Of a submission without an answer the file may lie there.
        tries = iter(range(1000))
        self._until_done(lambda: self._person.submit(name, overwrite=next(tries) > 0))

    def _train(self) -> model_pb2.Model:
        self._begun["train"].set()
        task = self._person.train("first", "cards")
        assert task is not None
        assert task.state == task_pb2.Task.SUCCEEDED, task.error_message
        self._over["train"].wait(PATIENCE_SECONDS)
        return self._got(partial(self._person.client.get_model, task.model))

    def _deploy_and_predict(self, model: model_pb2.Model) -> None:
        # The service hears of a model as a fact: until then it is refused.
        eventually(lambda: self._person.deploy("reader", model.name) is not None, PATIENCE_SECONDS)
        self._work_while_killed("predict", lambda _number: self._read())
        self._until_done(self._read)

    def _read(self) -> Call:
        return self._person.predict("reader", self._picture.read_bytes())

    def _page_name(self, key: str) -> str:
        image = self._got(partial(self._person.client.find_image, "cards", key))
        return image.name.replace("/images/", "/pages/")

    def _work_while_killed(self, stage: str, work: Callable[[int], object]) -> None:
        """Let the stage's kills come, and work until they are got over."""
        self._begun[stage].set()
        number = 0
        while not self._over[stage].is_set():
            work(number)
            number += 1

    def _until_done(self, ask: Callable[[], Call]) -> None:
        """What got no answer, or met a process that was away, is asked again."""
        eventually(lambda: ask().outcome is Outcome.OK, PATIENCE_SECONDS)

    def _got(self, get: Callable[[], T]) -> T:
        found: list[T] = []

        def is_answered() -> bool:
            found.append(get())
            return True

        eventually(is_answered, PATIENCE_SECONDS)
        return found[0]

    def _kill_all(self) -> None:
        try:
            for stage, places in STAGES.items():
                self._begun[stage].wait()
                for process, point in self._chance.sample(places, len(places)):
                    self._kill(process, point)
                if stage == "predict":
                    self._make_up_for_missed()
                self._over[stage].set()
        except TimeoutError as error:
            self._failure = error
        finally:
            for event in self._over.values():
                event.set()

    def _make_up_for_missed(self) -> None:
        """What nobody came by in its stage is replaced in the last one, which lasts as long as it is wanted."""
        for process, point in STAGES["predict"] * 2:
            if len(self.kills) < NUM_KILLS:
                self._kill(process, point)

    def _kill(self, process: str, point: str) -> None:
        time.sleep(self._chance.uniform(0.0, PAUSE_SECONDS))
        if process in OF_TRAINING and not self._may_lose_its_process():
            self.missed.append((process, point))
            return
        kill = self._killer.kill(process, point, answers=partial(self._answers, process))
        if kill is None:
            self.missed.append((process, point))
        else:
            self.kills.append(kill)

    def _may_lose_its_process(self) -> bool:
        """Wait for a node that the trainer would try once more."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.history.is_in_flight(Kind.TRAIN) and time.monotonic() < end:
            task = self._got(partial(self._watcher.client.get_task, "first"))
            if any(node.state == task_pb2.Node.RUNNING and node.attempt < MAX_TRIES for node in task.nodes):
                return True
            time.sleep(BREATH_SECONDS)
        return False

    def _answers(self, process: str) -> bool:
        client = self._watcher.client
        match process:
            case "labeling":
                client.list_pages("cards")
            case "trainer" | "node" | "nats":
                client.list_tasks()
            case "inference" | "instance":
                return all(found.state == deployment_pb2.Deployment.RUNNING for found in client.list_deployments())
            case _:
                client.list_datasets()
        return True

    def seen(self) -> Seen:
        """Once everything has come to rest."""
        if self._failure is not None:
            raise self._failure
        client = self._person.client
        eventually(lambda: is_at_rest(client, self._folder / "cards", self._pages), RECOVER_SECONDS)
        for dataset in client.list_datasets():
            eventually(partial(self._person.is_ready, dataset.name), RECOVER_SECONDS)
        return look(client, self._folder / "cards", self._pages, self._images_of, self._picture)
