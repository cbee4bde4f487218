"""Three replicas of every service on PostgreSQL and three servers of NATS; each goes from one to three and back under load."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2
from inkwright.inference.v1 import deployment_pb2
from inkwright.labeling.v1 import page_pb2
from inkwright.trainer.v1 import task_pb2
from libs.client.edits import WantedBox, edits
from libs.client.inkwright import Inkwright
from libs.demo.generator import generate
from tests.e2e.conftest import Installation
from tests.e2e.steps import predict, wait_for, wait_running
from tests.full.cluster import MAX_REPLICAS, SERVICES, TOKEN, Cluster, Killed, Place, caller, cluster
from tests.full.load import Load, NotRead, Person, Round, load
from tests.integration.inference_stage import made_up_bundle, written_page
from tests.integration.pictures import write_image
from tests.integration.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.timeout(900)

NUM_IMAGES = 12
NUM_UNLABELED = 2
TASK_SECONDS = 400.0
NOTICED_SECONDS = 1.0
"""How soon after a process is gone nobody sends it a call any more."""
ALL = range(1, MAX_REPLICAS + 1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that all tests share."""
    settings = {
        "INKWRIGHT_TRAINER_MAX_TRAINING_SECONDS": "20",
        "INKWRIGHT_TRAINER_LEASE_SECONDS": "5",
        "INKWRIGHT_TRAINER_THREADS": "1",
        "INKWRIGHT_INFERENCE_MEMORY_MB": "8192",
    }
    with cluster(tmp_path_factory.mktemp("cluster"), tmp_path_factory.mktemp("roots"), settings=settings) as made:
        yield made


@pytest.fixture(scope="module")
def inkwright(running: Cluster) -> Iterator[Installation]:
    """Someone who calls it."""
    with caller(running) as someone:
        yield Installation(someone, Path(running.settings["INKWRIGHT_ROOTS"]))


@pytest.fixture(scope="module")
def cards(inkwright: Installation) -> str:
    """A data set, the last pages of which have no labels yet."""
    generate(inkwright.folder / "cards", num_images=NUM_IMAGES, seed=5, part="train", num_unlabeled=NUM_UNLABELED)
    return ready_dataset(inkwright.client, inkwright.folder / "cards")


def ready_dataset(client: Inkwright, folder: Path) -> str:
    """Create a data set of a folder of the same name and wait for its index."""
    client.create_dataset(folder.name, path=str(folder))
    wait_for(lambda: client.get_dataset(folder.name).state == dataset_pb2.Dataset.READY, seconds=60)
    return folder.name


def new_box(number: int) -> page_pb2.Operation:
    """Draw a box, each at another place."""
    left, top = 4.0 * (number % 90), 4.0 * (number // 90 % 70)
    box = page_pb2.Box(box_id=uuid.uuid4().hex, text="more")
    corners = ((left, top), (left + 30, top), (left + 30, top + 12), (left, top + 12))
    box.quad.points.extend(geometry_pb2.Point(x=x, y=y) for x, y in corners)
    return page_pb2.Operation(operation_id=box.box_id, create_box=page_pb2.CreateBox(box=box))


def one_of_each(running: Cluster) -> None:
    """Where every test of a service begins."""
    for service in SERVICES:
        running.only(service, 1)


def test_folder_to_answer(running: Cluster, inkwright: Installation, cards: str) -> None:
    for service in SERVICES:
        running.only(service, *ALL)
    client = inkwright.client
    done = inkwright.inkctl("label", "prelabel", cards)
    assert done.returncode == 0, done.stderr
    for page in client.list_pages(cards)[-NUM_UNLABELED:]:
        read = client.get_page(page.name)
        assert read.num_suggestions > 0
        kept = [
            WantedBox(label=box.text, pos=[(point.x, point.y) for point in box.quad.points], box_id=box.box_id)
            for box in read.boxes
            if box.text
        ]
        client.apply_operations(page.name, edits(read, kept))
        client.submit_page(page.name)
    wait_for(lambda: client.get_dataset(cards).counts.num_unlabeled == 0, seconds=60)
    done = inkwright.inkctl("task", "create", "first", "--dataset", cards, "--mode", "fast", "--follow")
    assert done.returncode == 0, done.stdout + done.stderr
    model = client.get_model(client.get_task("first").model)
    client.create_deployment("reader", deployment_pb2.Deployment(model="first", num_instances=3))
    wait_running(client, "reader")
    answer = predict(inkwright, "reader", (inkwright.folder / cards / "card_0001.jpg").read_bytes())
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Version"] == model.bundle_digest
    assert answer.json()["result"]["output"]
    client.delete_deployment("reader")
    for service in SERVICES:
        for number in ALL:
            assert running.num_calls((service, number)) > 0, f"nobody called {service} {number}"


def from_one_to_three_and_back(running: Cluster, service: str, rounds: Mapping[str, Round], victim: Callable[[], Place]) -> None:
    """Start and stop replicas under load, kill one at last, and look at the calls that failed.

    Args:
        rounds: what people do meanwhile, by their names.
        victim: called when the third replica and a new first one run; says which to kill.
    """
    with load(running.url, TOKEN, rounds) as people:
        people.go_on()
        _grow(running, people, (service, 2), (service, 3))
        running.stop((service, 1), (service, 2))
        people.go_on()
        _grow(running, people, (service, 1))
        assert people.failures == []
        killed = running.kill(victim())
        people.go_on()
        assert people.num_calls > 0
    _check(people, killed, len(rounds))


def _grow(running: Cluster, people: Load, *places: Place) -> None:
    """Start replicas and go on until each has answered somebody."""
    before = {place: running.num_calls(place) for place in places}
    running.start(*places)
    wait_for(lambda: all(running.num_calls(place) > before[place] for place in places), seconds=60)
    people.go_on()


def _check(people: Load, killed: Killed, num_people: int) -> None:
    """Nothing failed but what was in flight when the process was killed, one call of a person at most, and that succeeded when repeated."""
    for failure in people.failures:
        assert failure.ended >= killed.began, failure
        assert failure.began <= killed.ended + NOTICED_SECONDS, failure
        assert failure.has_healed, failure
    assert len(people.failures) <= num_people, people.failures


def test_dataset_from_one_to_three_and_back(running: Cluster, inkwright: Installation, cards: str) -> None:
    one_of_each(running)

    def write(person: Person, number: int) -> None:
        folder = inkwright.folder / f"made-{number}"
        write_image(folder / "a.png")
        person.ask("create", lambda: person.client.create_dataset(folder.name, path=str(folder)))
        found = person.ask("get what was created", lambda: person.client.get_dataset(folder.name))
        assert found is not None
        assert found.path == str(folder)

    def read(person: Person, _number: int) -> None:
        person.ask("list", person.client.list_datasets)
        images = person.ask("list images", lambda: person.client.list_images(cards))
        assert images is not None
        assert len(images) == NUM_IMAGES

    from_one_to_three_and_back(running, "dataset", {"ann": write, "bob": read, "cem": read}, lambda: ("dataset", 3))
    made = [dataset.name for dataset in inkwright.client.list_datasets() if "/made-" in dataset.name]
    wait_for(lambda: all(inkwright.client.get_dataset(name).counts.num_images == 1 for name in made), seconds=60)


def test_labeling_from_one_to_three_and_back(running: Cluster, inkwright: Installation) -> None:
    one_of_each(running)
    client = inkwright.client
    for number in range(3):
        write_image(inkwright.folder / "pages" / f"{number}.png", width_px=400, height_px=300)
    pages = [image.name.replace("/images/", "/pages/") for image in client.list_images(ready_dataset(client, inkwright.folder / "pages"))]
    wait_for(lambda: all(client.get_page(page).name for page in pages), seconds=60)
    made: dict[str, set[str]] = {page: set() for page in pages}

    def draw_on(page: str) -> Round:
        def draw(person: Person, number: int) -> None:
            operation = new_box(number)
            person.ask("draw", lambda: person.client.apply_operations(page, [operation]))
            made[page].add(operation.operation_id)
            found = person.ask("get what was drawn", lambda: person.client.get_page(page))
            assert found is not None
            assert {box.box_id for box in found.boxes} == made[page]
            if number % 5 == 0:
                person.ask("submit", lambda: person.client.submit_page(page))

        return draw

    def read(person: Person, _number: int) -> None:
        person.ask("list", lambda: person.client.list_pages("pages"))

    rounds = {"ann": draw_on(pages[0]), "bob": draw_on(pages[1]), "cem": draw_on(pages[2]), "dora": read}
    from_one_to_three_and_back(running, "labeling", rounds, lambda: ("labeling", 3))
    for page in pages:
        assert {box.box_id for box in client.get_page(page).boxes} == made[page]


def test_trainer_from_one_to_three_and_back(running: Cluster, inkwright: Installation, cards: str, tmp_path: Path) -> None:
    one_of_each(running)
    client = inkwright.client
    write_tiny_bundle(tmp_path / "tiny.inkbundle")
    tasks = [client.create_task("long-0", task_pb2.Task(dataset=cards)).name]

    def write(person: Person, number: int) -> None:
        task = f"made-{number}"
        person.ask("create", lambda: person.client.create_task(task, task_pb2.Task(dataset=cards)))
        found = person.ask("get what was created", lambda: person.client.get_task(task))
        assert found is not None
        person.ask("terminate", lambda: person.client.terminate_task(task))

    def bring(person: Person, number: int) -> None:
        model, back = f"brought-{number}", tmp_path / "back.inkbundle"
        person.ask("import", lambda: person.client.import_model(model, tmp_path / "tiny.inkbundle"))
        person.ask("export", lambda: person.client.export_model(model, back))
        assert back.read_bytes() == (tmp_path / "tiny.inkbundle").read_bytes()

    def read(person: Person, _number: int) -> None:
        person.ask("list tasks", person.client.list_tasks)
        person.ask("list models", person.client.list_models)
        person.ask("read log", lambda: person.client.task_logs(tasks[0]))

    def who_trains() -> Place:
        """The one to kill has a node in hand that takes some time."""
        while True:
            task = client.get_task(tasks[-1])
            if task.state == task_pb2.Task.SUCCEEDED:
                tasks.append(client.create_task(f"long-{len(tasks)}", task_pb2.Task(dataset=cards)).name)
            if any(node.state == task_pb2.Node.RUNNING and node.node_id.startswith("train-") for node in task.nodes):
                return holder_of(running, task.name)
            time.sleep(0.1)

    from_one_to_three_and_back(running, "trainer", {"ann": write, "bob": bring, "cem": read}, who_trains)
    for name in tasks:
        wait_for(partial(has_succeeded, client, name), seconds=TASK_SECONDS)
    assert max(node.attempt for node in client.get_task(tasks[-1]).nodes) > 1, "its worker was killed"


def has_succeeded(client: Inkwright, task: str) -> bool:
    """Whether a task came to its good end; it must not come to another."""
    found = client.get_task(task)
    assert found.state not in (task_pb2.Task.FAILED, task_pb2.Task.TERMINATED), found.error_message
    return found.state == task_pb2.Task.SUCCEEDED


def holder_of(running: Cluster, task: str) -> Place:
    """The trainer that began the newest node of a task."""
    began = [
        (line["time"], ("trainer", number))
        for number in running.replicas("trainer")
        for line in running.lines(("trainer", number))
        if line["event"] == "node_started" and line["resource"] == task
    ]
    return max(began)[1]


def test_inference_from_one_to_three_and_back(running: Cluster, inkwright: Installation, tmp_path: Path) -> None:
    one_of_each(running)
    client = inkwright.client
    client.import_model("blank", made_up_bundle(tmp_path / "blank.inkbundle").path)
    small = deployment_pb2.Quota(cores=0.5, memory_mb=256)
    wait_for(lambda: bool(client.create_deployment("reader", deployment_pb2.Deployment(model="blank", quota=small)).name), seconds=30)
    wait_running(client, "reader")
    token, image = client.reveal_token("reader"), written_page("x")

    def read(person: Person, _number: int) -> None:
        person.ask("predict", lambda: answered(person.client.rest.predict("reader", image, token=token)))

    def write(person: Person, number: int) -> None:
        name = f"made-{number}"
        person.ask("create", lambda: person.client.create_deployment(name, deployment_pb2.Deployment(model="blank", quota=small)))
        found = person.ask("get what was created", lambda: person.client.get_deployment(name))
        assert found is not None
        person.ask("delete", lambda: person.client.delete_deployment(name))
        # Each takes an instance with it: a machine that only starts processes reads nothing.
        time.sleep(1.0)

    def look(person: Person, _number: int) -> None:
        person.ask("list", person.client.list_deployments)
        person.ask("reveal token", lambda: person.client.reveal_token("reader"))

    def one_of_two() -> Place:
        """Either has an instance: what was there stayed where it was, what is new goes where there is more room."""
        client.scale_deployment("reader", 2)

        def both_have_one() -> bool:
            ready = [each for each in client.get_deployment("reader").instances if each.state == deployment_pb2.Instance.READY]
            ports = {int(each.endpoint.rpartition(":")[2]) for each in ready}
            return all(ports & running.ports(("inference", number)) for number in (1, 3))

        wait_for(both_have_one, seconds=60)
        return "inference", 3

    people = {"ann": read, "bob": read, "cem": write, "dora": look}
    from_one_to_three_and_back(running, "inference", people, one_of_two)
    wait_running(client, "reader")


def answered(reply: dict[str, object]) -> None:
    """Look at what the public API said.

    Raises:
        NotRead: an error.
    """
    if not reply["success"]:
        raise NotRead(str(reply))
