"""One training through the real services, as a user starts it with nothing but a folder."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from inkwright.dataset.v1 import dataset_pb2
from inkwright.trainer.v1 import model_pb2, task_pb2
from libs.client.commands.task import follow_task
from libs.client.inkwright import Inkwright
from libs.demo.installation import installation

_NAME = "score"


@dataclass(frozen=True)
class Trained:
    """What a task gave.

    Args:
        task: as it ended.
        model: with its measures beside the base's.
        bundle: the exported file.
    """

    task: task_pb2.Task
    model: model_pb2.Model
    bundle: Path

    @property
    def minutes(self) -> float:
        """From the start of the task to its end."""
        return _seconds(self.task) / 60

    def node_seconds(self) -> dict[str, float]:
        """Seconds of each node that ran."""
        return {
            node.node_id: round(_seconds(node), 1) for node in self.task.nodes if node.HasField("end_time") and node.HasField("start_time")
        }


def train(folder: Path, bundle: Path) -> Trained:
    """Start an installation in an empty home, train on a folder with every setting left open, export the bundle, stop.

    The task's log is left beside the bundle, as ``.log``.

    Args:
        folder: images with labels beside them; nothing is written there.
        bundle: file to write.

    Raises:
        ApiError: a step was refused.
        RuntimeError: indexing or the task failed.
    """
    bundle.parent.mkdir(parents=True, exist_ok=True)
    resolved = folder.expanduser().resolve()
    with (
        tempfile.TemporaryDirectory(prefix="inkwright-score-") as home,
        installation(Path(home), resolved, env={"INKWRIGHT_LOG_LEVEL": "warning"}) as running,
    ):
        client = running.client
        _index(client, resolved)
        client.create_task(_NAME, task_pb2.Task(dataset=_NAME))
        task = follow_task(client, _NAME)
        _keep_log(client, bundle.with_suffix(".log"))
        if task.state != task_pb2.Task.SUCCEEDED:
            raise RuntimeError(f"the task ended {task_pb2.Task.State.Name(task.state)}: {task.error_message}")
        model = client.get_model(task.model)
        client.export_model(task.model, bundle)
    return Trained(task, model, bundle)


def _index(client: Inkwright, folder: Path) -> None:
    client.create_dataset(_NAME, path=str(folder))
    ended = (dataset_pb2.Dataset.READY, dataset_pb2.Dataset.FAILED)
    *_, dataset = client.watch(lambda: client.get_dataset(_NAME), until=lambda dataset: dataset.state in ended)
    if dataset.state == dataset_pb2.Dataset.FAILED:
        raise RuntimeError(f"indexing failed: {dataset.error_message}")


def _keep_log(client: Inkwright, file: Path) -> None:
    lines: list[str] = []
    after = 0
    while batch := client.task_logs(_NAME, after_sequence=after):
        lines += [f"{line.time.ToDatetime():%H:%M:%S} {line.node_id:<16} {line.level:<7} {line.message}" for line in batch]
        after = batch[-1].sequence
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _seconds(ran: task_pb2.Task | task_pb2.Node) -> float:
    return (ran.end_time.ToDatetime() - ran.start_time.ToDatetime()).total_seconds()
