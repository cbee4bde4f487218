"""What people ask of an installation, each call noted in a history."""

import base64
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import httpx

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.inference.v1 import deployment_pb2, inference_service_pb2
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from inkwright.trainer.v1 import task_pb2, trainer_service_pb2
from libs.client.inkwright import DATASETS, INFERENCE, LABELING, TRAINER, Inkwright
from libs.client.rest import ApiError, RestClient, Unreachable
from tests.chaos.history import Call, History, Kind, Outcome
from tests.chaos.killer import LOOK_SECONDS

CALL_SECONDS: Final = 10.0
BREATH_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 300.0
"""How long somebody waits for the end of what goes on by itself, while processes are killed."""
ENDED: Final = frozenset({task_pb2.Task.SUCCEEDED, task_pb2.Task.FAILED, task_pb2.Task.TERMINATED})

T = TypeVar("T")


class Person:
    """One who works on an installation; not for two threads at once.

    Args:
        url: of the gateway.
        token: for management calls.
        history: where each call is noted.
    """

    def __init__(self, url: str, token: str, history: History) -> None:
        self.client = Inkwright(RestClient(url, token, timeout_seconds=CALL_SECONDS))
        self._history = history
        self._http = httpx.Client(base_url=url, timeout=CALL_SECONDS)
        self._tokens: dict[str, str] = {}
        self._left = threading.Event()

    def leave(self) -> None:
        """Wait for nothing any more; what has not ended then is unknown. For another thread to call."""
        self._left.set()

    def close(self) -> None:
        """Close the connections."""
        self.client.rest.close()
        self._http.close()

    def create_dataset(self, dataset_id: str, folder: Path) -> Call:
        """Register a folder; with an id of its own, so that asking again makes no second one."""
        name = self.client.full_name("datasets", dataset_id)
        request = dataset_service_pb2.CreateDatasetRequest(
            parent=self.client.project,
            dataset_id=dataset_id,
            dataset=dataset_pb2.Dataset(path=str(folder), storage_type=dataset_pb2.Dataset.LOCAL),
            request_id=f"create-{dataset_id}",
        )
        with self._history.call(Kind.CREATE, name) as call:
            asked(call, lambda: self.client.rest.call(DATASETS, "CreateDataset", request, dataset_pb2.Dataset))
        return call

    def is_ready(self, dataset: str) -> bool:
        """Whether its index is built."""
        return self.client.get_dataset(dataset).state == dataset_pb2.Dataset.READY

    def apply(self, page: str, operations: Sequence[page_pb2.Operation] = ()) -> Call:
        """Apply operations to a page; without any, one that creates a box."""
        with self._history.call(Kind.APPLY, page) as call:
            wanted = list(operations) or [_new_box(call.number)]
            call.operations = tuple(operation.operation_id for operation in wanted)
            found = asked(call, lambda: self.client.apply_operations(page, wanted))
            if found is not None:
                call.version = found.sequence
        return call

    def submit(self, page: str, *, overwrite: bool = False) -> Call:
        """Write a page's labels beside its image."""
        request = labeling_service_pb2.SubmitPageRequest(name=page, overwrite=overwrite)
        with self._history.call(Kind.SUBMIT, page) as call:
            found = asked(call, lambda: self.client.rest.call(LABELING, "SubmitPage", request, page_pb2.Page))
            if found is not None:
                call.version, call.submitted = found.sequence, found.submitted_sequence
        return call

    def train(self, task_id: str, dataset: str) -> task_pb2.Task | None:
        """Create a task and wait for its end, whatever it is; ``None`` when it was refused or did not end."""
        order = task_pb2.Task(
            dataset=self.client.full_name("datasets", dataset),
            base=self.client.full_name("models", "ppocrv6-small"),
            mode=task_pb2.Task.FAST,
        )
        request = trainer_service_pb2.CreateTaskRequest(
            parent=self.client.project, task_id=task_id, task=order, request_id=f"create-{task_id}"
        )
        with self._history.call(Kind.TRAIN, self.client.full_name("tasks", task_id)) as call:
            made = self._until_answered(call, lambda: self.client.rest.call(TRAINER, "CreateTask", request, task_pb2.Task))
            return made and self._until(call, lambda: self.client.get_task(task_id), lambda task: task.state in ENDED)

    def prelabel(self, dataset: str) -> page_pb2.Prelabel | None:
        """Have the base fill empty pages and wait for the end; ``None`` when it was refused or did not end."""
        name = self.client.full_name("datasets", dataset)
        request = labeling_service_pb2.CreatePrelabelRequest(parent=name, request_id=f"prelabel-{dataset}")
        with self._history.call(Kind.PRELABEL, name) as call:
            made = self._until_answered(call, lambda: self.client.rest.call(LABELING, "CreatePrelabel", request, page_pb2.Prelabel))
            if made is None:
                return None
            return self._until(call, partial(self.client.get_prelabel, made.name), lambda run: run.state != page_pb2.Prelabel.RUNNING)

    def deploy(self, deployment_id: str, model: str) -> deployment_pb2.Deployment | None:
        """Put a model behind an address and wait until it answers; ``None`` when it was refused or never did."""
        request = inference_service_pb2.CreateDeploymentRequest(
            parent=self.client.project,
            deployment_id=deployment_id,
            deployment=deployment_pb2.Deployment(model=self.client.full_name("models", model)),
            request_id=f"create-{deployment_id}",
        )
        with self._history.call(Kind.DEPLOY, self.client.full_name("deployments", deployment_id)) as call:
            made = self._until_answered(
                call, lambda: self.client.rest.call(INFERENCE, "CreateDeployment", request, deployment_pb2.Deployment)
            )
            if made is None:
                return None
            call.model = made.bundle_digest
            return self._until(
                call, lambda: self.client.get_deployment(deployment_id), lambda found: found.state == deployment_pb2.Deployment.RUNNING
            )

    def predict(self, deployment_id: str, image: bytes) -> Call:
        """Have a deployment read an image, as any program would."""
        with self._history.call(Kind.PREDICT, self.client.full_name("deployments", deployment_id)) as call:
            try:
                answer = self._http.post(
                    f"/api/predict/{deployment_id}",
                    json={"dataArray": [{"name": "picture", "type": "stream", "body": base64.b64encode(image).decode()}]},
                    headers={"Authorization": self._token_of(deployment_id)},
                )
                note_answer(call, answer)
            except (httpx.TransportError, ApiError, Unreachable):
                pass
        if call.outcome is not Outcome.OK:
            time.sleep(BREATH_SECONDS)
        return call

    def _token_of(self, deployment_id: str) -> str:
        if deployment_id not in self._tokens:
            self._tokens[deployment_id] = self.client.reveal_token(deployment_id)
        return self._tokens[deployment_id]

    def _until_answered(self, call: Call, ask: Callable[[], T]) -> T | None:
        """Ask until there is an answer; under its request id the same call has its effect once."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self._waits(end):
            found = asked(call, ask)
            if found is not None or call.outcome is Outcome.FAILED:
                # It is over when what it began is.
                call.outcome = None if found is not None else call.outcome
                return found
        return None

    def _waits(self, end: float) -> bool:
        return time.monotonic() < end and not self._left.is_set()

    def _until(self, call: Call, get: Callable[[], T], is_over: Callable[[T], bool]) -> T | None:
        end = time.monotonic() + PATIENCE_SECONDS
        while self._waits(end):
            try:
                found = get()
            except (ApiError, Unreachable):
                time.sleep(BREATH_SECONDS)
                continue
            if is_over(found):
                call.outcome = Outcome.OK
                return found
            time.sleep(LOOK_SECONDS * 4)
        return None


def asked(call: Call, ask: Callable[[], T]) -> T | None:
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


def note_answer(call: Call, answer: httpx.Response) -> None:
    """Note what the public API answered; what is not in its form has the HTTP status as its code."""
    try:
        body = answer.json()
        if body["success"]:
            call.text = tuple(line["label"] for line in body["result"]["output"])
            call.model, call.outcome = answer.headers["X-Model-Version"], Outcome.OK
        else:
            call.code, call.outcome = body["errorCode"], Outcome.FAILED
    except (ValueError, KeyError, TypeError):
        call.code, call.outcome = answer.status_code, Outcome.FAILED


def _new_box(number: int) -> page_pb2.Operation:
    """A box of its own for each call, none quite above another."""
    left, top = 4.0 * (number % 90), 4.0 * (number // 90 % 70)
    corners = ((left, top), (left + 30, top), (left + 30, top + 12), (left, top + 12))
    box = page_pb2.Box(box_id=f"op-{number}", text=f"text {number}")
    box.quad.points.extend(geometry_pb2.Point(x=x, y=y) for x, y in corners)
    return page_pb2.Operation(operation_id=box.box_id, create_box=page_pb2.CreateBox(box=box))
