"""What `inkctl` and the demo call: one method for each verb, names given short or whole."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from inkwright.dataset.v1 import dataset_pb2, dataset_service_pb2
from inkwright.gateway.v1 import dead_letter_pb2, event_service_pb2, status_pb2, status_service_pb2
from inkwright.inference.v1 import deployment_pb2, inference_service_pb2
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from inkwright.trainer.v1 import model_pb2, task_pb2, trainer_service_pb2
from libs.client.health import Health
from libs.client.rest import ApiError, RestClient, pages
from libs.client.trash import Trash
from libs.client.users import Users
from libs.client.versions import Versions

DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]
LABELING = labeling_service_pb2.DESCRIPTOR.services_by_name["LabelingService"]
TRAINER = trainer_service_pb2.DESCRIPTOR.services_by_name["TrainerService"]
EVENTS = event_service_pb2.DESCRIPTOR.services_by_name["EventService"]
STATUS = status_service_pb2.DESCRIPTOR.services_by_name["StatusService"]
INFERENCE = inference_service_pb2.DESCRIPTOR.services_by_name["InferenceService"]

PAGE_SIZE = 500
POLL_SECONDS = 0.5

WatchedT = TypeVar("WatchedT", bound=Message)


def storage_type_of(path: str) -> dataset_pb2.Dataset.StorageType.ValueType:
    """What kind of store a path leads to."""
    return dataset_pb2.Dataset.OSS if path.startswith("oss://") else dataset_pb2.Dataset.LOCAL


class Inkwright:
    """An installation, seen from outside.

    Every method raises ``ApiError`` when the server refuses and ``Unreachable`` when it does not answer.
    """

    def __init__(self, rest: RestClient, *, project: str = "default") -> None:
        self.rest = rest
        self.project = f"projects/{project}"
        self.users = Users(rest)
        self.health = Health(rest, lambda name: self.full_name("datasets", name))
        self.versions = Versions(rest, self.project)
        self.trash = Trash(rest, self.project)

    def full_name(self, collection: str, name: str) -> str:
        """``receipts`` → ``projects/default/datasets/receipts``; a whole name stays."""
        return name if name.startswith("projects/") else f"{self.project}/{collection}/{name}"

    def watch(self, get: Callable[[], WatchedT], *, until: Callable[[WatchedT], bool]) -> Iterator[WatchedT]:
        """Yield the resource every half second, the last time when ``until`` holds."""
        while True:
            resource = get()
            yield resource
            if until(resource):
                return
            time.sleep(POLL_SECONDS)

    # Datasets

    def create_dataset(
        self, dataset_id: str, *, path: str, description: str = "", connection: str = "", allow_empty: bool = False
    ) -> dataset_pb2.Dataset:
        """Register a folder, or ``oss://bucket/prefix/``; indexing starts. With ``allow_empty`` for uploads, ``path`` may be empty."""
        request = dataset_service_pb2.CreateDatasetRequest(
            parent=self.project,
            dataset_id=dataset_id,
            dataset=dataset_pb2.Dataset(path=path, description=description, storage_type=storage_type_of(path), connection=connection),
            allow_empty=allow_empty,
        )
        return self.rest.call(DATASETS, "CreateDataset", request, dataset_pb2.Dataset)

    def get_dataset(self, dataset: str) -> dataset_pb2.Dataset:
        """One dataset."""
        request = dataset_service_pb2.GetDatasetRequest(name=self.full_name("datasets", dataset))
        return self.rest.call(DATASETS, "GetDataset", request, dataset_pb2.Dataset)

    def check_connection(self, path: str, *, connection: str = "") -> dataset_pb2.ConnectionReport:
        """Whether images can be read there."""
        request = dataset_service_pb2.TestConnectionRequest(
            parent=self.project, storage_type=storage_type_of(path), path=path, connection=connection
        )
        return self.rest.call(DATASETS, "TestConnection", request, dataset_pb2.ConnectionReport)

    def check_dataset_connection(self, dataset: str) -> dataset_pb2.ConnectionReport:
        """Whether a dataset's images can be read now."""
        request = dataset_service_pb2.TestDatasetConnectionRequest(name=self.full_name("datasets", dataset))
        return self.rest.call(DATASETS, "TestDatasetConnection", request, dataset_pb2.ConnectionReport)

    def list_datasets(self) -> list[dataset_pb2.Dataset]:
        """All datasets of the project."""
        request = dataset_service_pb2.ListDatasetsRequest(parent=self.project, page_size=PAGE_SIZE)
        answers = pages(self.rest, DATASETS, "ListDatasets", request, dataset_service_pb2.ListDatasetsResponse)
        return [row for answer in answers for row in answer.datasets]

    def sync_dataset(self, dataset: str) -> dataset_pb2.Dataset:
        """Start to compare the folder with the index."""
        request = dataset_service_pb2.SyncDatasetRequest(name=self.full_name("datasets", dataset))
        return self.rest.call(DATASETS, "SyncDataset", request, dataset_pb2.Dataset)

    def list_images(
        self, dataset: str, *, key: str = "", label_state: dataset_pb2.Image.LabelState.ValueType | None = None
    ) -> list[dataset_pb2.Image]:
        """Rows of the index, in key order; ``key`` (or a bare stem) and ``label_state`` narrow them down."""
        request = dataset_service_pb2.ListImagesRequest(parent=self.full_name("datasets", dataset), page_size=PAGE_SIZE, key=key)
        if label_state is not None:
            request.label_state = label_state
        answers = pages(self.rest, DATASETS, "ListImages", request, dataset_service_pb2.ListImagesResponse)
        return [row for answer in answers for row in answer.images]

    def find_image(self, dataset: str, image: str) -> dataset_pb2.Image:
        """The image with this id, key or stem.

        Raises:
            ApiError: there is none, or the stem fits several.
        """
        if image.startswith(("projects/", "img_")):
            name = image if image.startswith("projects/") else f"{self.full_name('datasets', dataset)}/images/{image}"
            return self.rest.call(DATASETS, "GetImage", dataset_service_pb2.GetImageRequest(name=name), dataset_pb2.Image)
        found = self.list_images(dataset, key=image)
        if len(found) != 1:
            what = "no image" if not found else f"{len(found)} images ({', '.join(row.key for row in found[:5])})"
            raise ApiError(
                f"{dataset} has {what} called {image!r}; give the path below the dataset's folder.", status=404, reason="NOT_FOUND"
            )
        return found[0]

    # Labels

    def get_page(self, page: str) -> page_pb2.Page:
        """A page with its boxes, by whole name."""
        return self.rest.call(LABELING, "GetPage", labeling_service_pb2.GetPageRequest(name=page), page_pb2.Page)

    def list_pages(
        self,
        dataset: str,
        *,
        state: page_pb2.Page.State.ValueType | None = None,
        editor: str = "",
        max_confidence: float | None = None,
    ) -> list[page_pb2.Page]:
        """Pages without boxes: in key order, or the least certain first where ``max_confidence`` (0 to 1) is given."""
        request = labeling_service_pb2.ListPagesRequest(
            parent=self.full_name("datasets", dataset), page_size=PAGE_SIZE, editor=editor, max_confidence=max_confidence
        )
        if state is not None:
            request.state = state
        answers = pages(self.rest, LABELING, "ListPages", request, labeling_service_pb2.ListPagesResponse)
        return [row for answer in answers for row in answer.pages]

    def apply_operations(self, page: str, operations: list[page_pb2.Operation]) -> page_pb2.Page:
        """Append operations to a page, all or none."""
        request = labeling_service_pb2.ApplyOperationsRequest(name=page, operations=operations)
        return self.rest.call(LABELING, "ApplyOperations", request, page_pb2.Page)

    def submit_page(self, page: str) -> page_pb2.Page:
        """Write a page's labels beside its image."""
        return self.rest.call(LABELING, "SubmitPage", labeling_service_pb2.SubmitPageRequest(name=page), page_pb2.Page)

    def create_prelabel(self, dataset: str, *, model: str = "") -> page_pb2.Prelabel:
        """Start to fill empty pages with suggestions."""
        request = labeling_service_pb2.CreatePrelabelRequest(
            parent=self.full_name("datasets", dataset),
            prelabel=page_pb2.Prelabel(model=self.full_name("models", model) if model else ""),
        )
        return self.rest.call(LABELING, "CreatePrelabel", request, page_pb2.Prelabel)

    def get_prelabel(self, prelabel: str) -> page_pb2.Prelabel:
        """A run of suggestions, by whole name."""
        return self.rest.call(LABELING, "GetPrelabel", labeling_service_pb2.GetPrelabelRequest(name=prelabel), page_pb2.Prelabel)

    # Tasks and models

    def create_task(self, task_id: str, task: task_pb2.Task) -> task_pb2.Task:
        """Start a training task; datasets and ``base`` may be short names, ``version`` may be ``DATASET/VERSION``."""
        if task.dataset:
            task.dataset = self.full_name("datasets", task.dataset)
        task.further_datasets[:] = [self.full_name("datasets", one) for one in task.further_datasets]
        task.version = self.versions.full_name(task.version)
        if task.base:
            task.base = self.full_name("models", task.base)
        request = trainer_service_pb2.CreateTaskRequest(parent=self.project, task_id=task_id, task=task)
        return self.rest.call(TRAINER, "CreateTask", request, task_pb2.Task)

    def get_task(self, task: str) -> task_pb2.Task:
        """One task with its nodes."""
        return self.rest.call(TRAINER, "GetTask", trainer_service_pb2.GetTaskRequest(name=self.full_name("tasks", task)), task_pb2.Task)

    def list_tasks(self) -> list[task_pb2.Task]:
        """Tasks of the project, newest first."""
        request = trainer_service_pb2.ListTasksRequest(parent=self.project, page_size=PAGE_SIZE)
        answers = pages(self.rest, TRAINER, "ListTasks", request, trainer_service_pb2.ListTasksResponse)
        return [row for answer in answers for row in answer.tasks]

    def task_logs(self, task: str, *, node_id: str = "", after_sequence: int = 0) -> list[task_pb2.LogLine]:
        """Log lines after a sequence number, oldest first, all there are now."""
        request = trainer_service_pb2.ListTaskLogsRequest(
            name=self.full_name("tasks", task), node_id=node_id, after_sequence=after_sequence, page_size=PAGE_SIZE
        )
        answers = pages(self.rest, TRAINER, "ListTaskLogs", request, trainer_service_pb2.ListTaskLogsResponse)
        return [row for answer in answers for row in answer.lines]

    def terminate_task(self, task: str) -> task_pb2.Task:
        """Stop a task and discard what it made."""
        request = trainer_service_pb2.TerminateTaskRequest(name=self.full_name("tasks", task))
        return self.rest.call(TRAINER, "TerminateTask", request, task_pb2.Task)

    def get_model(self, model: str) -> model_pb2.Model:
        """One model."""
        return self.rest.call(
            TRAINER, "GetModel", trainer_service_pb2.GetModelRequest(name=self.full_name("models", model)), model_pb2.Model
        )

    def list_models(self) -> list[model_pb2.Model]:
        """Models of the project, newest first, bases last."""
        request = trainer_service_pb2.ListModelsRequest(parent=self.project, page_size=PAGE_SIZE)
        answers = pages(self.rest, TRAINER, "ListModels", request, trainer_service_pb2.ListModelsResponse)
        return [row for answer in answers for row in answer.models]

    def export_model(self, model: str, into: Path) -> int:
        """Download a model's bundle; the file appears whole or not at all. Returns its size in bytes."""
        return self.save(f"/v1/{self.full_name('models', model)}:bundle", into)

    def save(self, path: str, into: Path) -> int:
        """Download what the gateway offers at a path; the file appears whole or not at all. Returns its size in bytes."""
        part = into.with_name(into.name + ".part")
        try:
            with part.open("wb") as file:
                for chunk in self.rest.download(path):
                    file.write(chunk)
            size_bytes = part.stat().st_size
            part.replace(into)
        finally:
            part.unlink(missing_ok=True)
        return size_bytes

    def import_model(self, model_id: str, bundle: Path) -> model_pb2.Model:
        """Upload a bundle as a model."""
        return self.rest.upload(f"/v1/{self.full_name('models', model_id)}:import", bundle, model_pb2.Model)

    # Deployments

    def create_deployment(self, deployment_id: str, deployment: deployment_pb2.Deployment) -> deployment_pb2.Deployment:
        """Put a model behind an address; ``model`` may be a short name."""
        deployment.model = self.full_name("models", deployment.model)
        request = inference_service_pb2.CreateDeploymentRequest(parent=self.project, deployment_id=deployment_id, deployment=deployment)
        return self.rest.call(INFERENCE, "CreateDeployment", request, deployment_pb2.Deployment)

    def get_deployment(self, deployment: str) -> deployment_pb2.Deployment:
        """One deployment with its instances."""
        request = inference_service_pb2.GetDeploymentRequest(name=self.full_name("deployments", deployment))
        return self.rest.call(INFERENCE, "GetDeployment", request, deployment_pb2.Deployment)

    def list_deployments(self) -> list[deployment_pb2.Deployment]:
        """Deployments of the project, newest first."""
        request = inference_service_pb2.ListDeploymentsRequest(parent=self.project, page_size=PAGE_SIZE)
        answers = pages(self.rest, INFERENCE, "ListDeployments", request, inference_service_pb2.ListDeploymentsResponse)
        return [row for answer in answers for row in answer.deployments]

    def scale_deployment(self, deployment: str, num_instances: int) -> deployment_pb2.Deployment:
        """Change the number of instances."""
        request = inference_service_pb2.ScaleDeploymentRequest(name=self.full_name("deployments", deployment), num_instances=num_instances)
        return self.rest.call(INFERENCE, "ScaleDeployment", request, deployment_pb2.Deployment)

    def stop_deployment(self, deployment: str) -> deployment_pb2.Deployment:
        """Stop all instances."""
        request = inference_service_pb2.StopDeploymentRequest(name=self.full_name("deployments", deployment))
        return self.rest.call(INFERENCE, "StopDeployment", request, deployment_pb2.Deployment)

    def start_deployment(self, deployment: str) -> deployment_pb2.Deployment:
        """Start the instances again."""
        request = inference_service_pb2.StartDeploymentRequest(name=self.full_name("deployments", deployment))
        return self.rest.call(INFERENCE, "StartDeployment", request, deployment_pb2.Deployment)

    def delete_deployment(self, deployment: str) -> None:
        """Stop and forget a deployment."""
        request = inference_service_pb2.DeleteDeploymentRequest(name=self.full_name("deployments", deployment))
        self.rest.call(INFERENCE, "DeleteDeployment", request, Empty)

    def reveal_token(self, deployment: str) -> str:
        """The token callers of the public API send."""
        request = inference_service_pb2.RevealTokenRequest(name=self.full_name("deployments", deployment))
        return self.rest.call(INFERENCE, "RevealToken", request, inference_service_pb2.RevealTokenResponse).token

    # The installation

    def status(self) -> status_pb2.Status:
        """How everything is now."""
        return self.rest.call(STATUS, "GetStatus", status_service_pb2.GetStatusRequest(), status_pb2.Status)

    def list_dead_letters(self, *, durable: str = "") -> list[dead_letter_pb2.DeadLetter]:
        """Messages that consumers gave up on, oldest first; of one consumer or of all."""
        request = event_service_pb2.ListDeadLettersRequest(durable=durable, page_size=PAGE_SIZE)
        answers = pages(self.rest, EVENTS, "ListDeadLetters", request, event_service_pb2.ListDeadLettersResponse)
        return [row for answer in answers for row in answer.dead_letters]

    def replay_dead_letter(self, letter: str) -> dead_letter_pb2.DeadLetter:
        """Hand a message back to the consumer that gave it up; ``letter`` is its number or whole name."""
        name = letter if letter.startswith("deadLetters/") else f"deadLetters/{letter}"
        return self.rest.call(EVENTS, "ReplayDeadLetter", event_service_pb2.ReplayDeadLetterRequest(name=name), dead_letter_pb2.DeadLetter)
