"""`inkctl task`: training tasks."""

import time
from enum import StrEnum
from typing import Annotated

import typer

from inkwright.trainer.v1 import task_pb2
from libs.client.inkwright import Inkwright
from libs.client.output import Exit, console, errors, fail, print_fields, print_json, print_table, progress_bar, short
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer(help="Training tasks.", no_args_is_help=True)

Task = task_pb2.Task
NodeState = task_pb2.Node.State
ENDED = (Task.SUCCEEDED, Task.FAILED, Task.TERMINATED)
FOLLOW_SECONDS = 1.0
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the task.")]


class Mode(StrEnum):
    """How much of the network is trained."""

    AUTO = "auto"
    FAST = "fast"
    FULL = "full"


@app.command()
@refusals_exit
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 30 letters, digits, `_`, `-`; starts with a letter or digit.")],
    dataset: Annotated[list[str] | None, typer.Option(help="Dataset to train on; may be given several times.")] = None,
    version: Annotated[str, typer.Option(help="DATASET/VERSION: train on what is frozen already, instead of a dataset.")] = "",
    description: Annotated[str, typer.Option(help="For people.")] = "",
    algorithm: Annotated[str, typer.Option(help="Algorithm.")] = "ocr-high-performance",
    base: Annotated[str, typer.Option(help="Model to start from; default: the base that reads the labels best.")] = "",
    mode: Annotated[Mode, typer.Option(help="How much of the network is trained.")] = Mode.AUTO,
    gpus: Annotated[int, typer.Option(help="Number of GPUs.")] = 0,
    gpu_type: Annotated[str, typer.Option(help="`cpu` or a GPU type a worker offers.")] = "cpu",
    validation: Annotated[float, typer.Option(help="Share of labelled images held out for validation.")] = 0.1,
    follow: Annotated[bool, typer.Option("--follow", help="Show the progress until it has ended; exit 0 on success.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a training task."""
    if bool(dataset) == bool(version):
        fail("Give --dataset, once or several times, or --version.", Exit.USAGE)
    first, *further = dataset or [""]
    client = inkwright(context)
    wanted = Task(
        description=description,
        dataset=first,
        further_datasets=further,
        version=version,
        algorithm=algorithm,
        base=base,
        mode=Task.Mode.Value(mode.name),
        resources=task_pb2.TaskResources(num_gpus=gpus, gpu_type=gpu_type),
        validation_fraction=validation,
    )
    task = client.create_task(name, wanted)
    if follow:
        task = follow_task(client, task.name)
    show(task, as_json)
    if follow and task.state != Task.SUCCEEDED:
        fail(f"task {name} ended {Task.State.Name(task.state)}: {task.error_message}", Exit.ENDED_OTHERWISE)


@app.command("list")
@refusals_exit
def list_all(context: typer.Context, as_json: JsonOption = False) -> None:
    """List tasks, newest first."""
    tasks = inkwright(context).list_tasks()
    if as_json:
        print_json(tasks)
        return
    rows = [(short(t.name), Task.State.Name(t.state), f"{t.progress:.0%}", short(t.dataset), short(t.model), t.description) for t in tasks]
    print_table(("NAME", "STATE", "PROGRESS", "DATASET", "MODEL", "DESCRIPTION"), rows)


@app.command()
@refusals_exit
def get(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """Show a task and its nodes."""
    show(inkwright(context).get_task(name), as_json)


@app.command()
@refusals_exit
def logs(
    context: typer.Context,
    name: Name,
    node: Annotated[str, typer.Option(help="Only this node.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the task has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the log of a task."""
    client = inkwright(context)
    after = 0
    while True:
        ended = client.get_task(name).state in ENDED
        for line in client.task_logs(name, node_id=node, after_sequence=after):
            after = line.sequence
            if as_json:
                print_json(line)
            else:
                moment = line.time.ToDatetime().strftime("%H:%M:%S")
                console.print(f"{moment} {line.node_id:<16} {line.level:<7} {line.message}", markup=False, soft_wrap=True)
        if ended or not follow:
            return
        time.sleep(FOLLOW_SECONDS)


@app.command()
@refusals_exit
def terminate(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """Stop a task and discard what it made."""
    client = inkwright(context)
    client.terminate_task(name)
    *_, task = client.watch(lambda: client.get_task(name), until=lambda task: task.state in ENDED)
    show(task, as_json)


def follow_task(client: Inkwright, name: str) -> task_pb2.Task:
    """Show nodes and their progress until the task has ended; where there is no terminal, a line for each change of a node."""
    with progress_bar(known=False) as bar:
        lines = {}
        told: dict[str, int] = {}
        for task in client.watch(lambda: client.get_task(name), until=lambda task: task.state in ENDED):
            for node in task.nodes:
                if bar.disable and told.get(node.node_id, NodeState.WAITING) != node.state:
                    errors.print(f"{node.node_id:<16} {NodeState.Name(node.state)}", markup=False)
                told[node.node_id] = node.state
                if node.state not in (NodeState.WAITING, NodeState.QUEUED) and node.node_id not in lines:
                    lines[node.node_id] = bar.add_task(node.node_id, total=1.0)
                if node.node_id in lines:
                    done = node.state in (NodeState.SUCCEEDED, NodeState.SKIPPED)
                    bar.update(
                        lines[node.node_id], completed=1.0 if done else node.progress, description=f"{node.node_id:<16} {node.message[:60]}"
                    )
    return task


def show(task: task_pb2.Task, as_json: bool) -> None:
    """Print one task."""
    if as_json:
        print_json(task)
        return
    print_fields(
        [
            ("name", short(task.name)),
            ("description", task.description),
            ("state", Task.State.Name(task.state)),
            ("error", task.error_message),
            ("progress", f"{task.progress:.0%}"),
            ("dataset", " ".join(short(one) for one in (task.dataset, *task.further_datasets))),
            ("version", short(task.version)),
            ("base", short(task.base)),
            ("model", short(task.model)),
            *split_fields(task),
        ]
    )
    console.print()
    print_table(
        ("NODE", "STATE", "TRIES", "SECONDS", "WHAT"),
        [(node.node_id, NodeState.Name(node.state), node.attempt or "", seconds(node), node.message) for node in task.nodes],
    )


def split_fields(task: task_pb2.Task) -> list[tuple[str, str]]:
    """Who is learnt and who judges; nothing before the split."""
    info = next((dict(node.info) for node in task.nodes if node.node_id == "split"), {})
    if "num_train" not in info:
        return []
    words = (("num_train", "training"), ("num_validation", "validation"), ("num_test", "test"), ("num_left_out", "left out"))
    numbers = ", ".join(f"{info[name]} {word}" for name, word in words if name in info)
    return [("split", f"{numbers}; {info['num_groups']} groups of near-duplicates, seed {info.get('seed', '')}")]


def seconds(node: task_pb2.Node) -> str:
    """How long a node ran; empty while it runs."""
    if not (node.HasField("start_time") and node.HasField("end_time")):
        return ""
    return f"{(node.end_time.ToDatetime() - node.start_time.ToDatetime()).total_seconds():.1f}"
