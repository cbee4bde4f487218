"""The whole flow on generated photographs, told step by step: images, labels, training, deployment, answer."""

import base64
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console

from inkwright.dataset.v1 import dataset_pb2
from inkwright.inference.v1 import deployment_pb2
from inkwright.labeling.v1 import page_pb2
from inkwright.trainer.v1 import model_pb2, task_pb2
from libs.client.commands import task as task_command
from libs.client.edits import WantedBox, edits
from libs.client.inkwright import Inkwright
from libs.client.output import print_table, short
from libs.demo.generator import GeneratedImage, generate
from libs.demo.installation import installation
from libs.demo.scores import measure_bundle, measure_suggestions, partners
from libs.ocrkit.evaluate import EvaluationReport
from libs.ocrkit.models import base_bundle_path

NUM_IMAGES = 72
TRAINING_SECONDS = 95
"""A demo is watched to its end."""

NUM_UNLABELED = 8
NUM_HELD_OUT = 12
TRAIN_SEED = 1
HELD_OUT_SEED = 2

console = Console(highlight=False)


def run(images_folder: Path | None = None, path: str | None = None) -> None:
    """Walk through everything in a temporary folder, which is gone at the end.

    Args:
        images_folder: where the photographs are put, and stay, in place of there.
        path: what the dataset calls that folder, where the installation reaches it as something else.

    Raises:
        ApiError, RuntimeError: a step was refused or failed.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="inkwright-demo-") as name:
        folder = Path(name)
        chapter("Images", "photographs of cards and forms; the last ones have no labels, the held-out ones other fonts, names and numbers")
        images_folder = images_folder or folder / "images"
        images = generate(images_folder, num_images=NUM_IMAGES, seed=TRAIN_SEED, part="train", num_unlabeled=NUM_UNLABELED)
        held_out = generate(folder / "held-out", num_images=NUM_HELD_OUT, seed=HELD_OUT_SEED, part="heldout")
        say(f"{len(images)} images with {count_lines(images)} lines to train on, {len(held_out)} with {count_lines(held_out)} held out")
        chapter("Start", "bus, four services and gateway, on free ports")
        with installation(
            folder / "home", folder, env={"INKWRIGHT_LOG_LEVEL": "warning", "INKWRIGHT_TRAINER_MAX_TRAINING_SECONDS": str(TRAINING_SECONDS)}
        ) as running:
            say(f"address {running.url}")
            client = running.client
            index(client, path or str(images_folder))
            label(client, images[-NUM_UNLABELED:])
            model = train(client)
            show_model(model)
            scores = score(client, model, held_out, folder)
            deploy_and_call(client, model, held_out[0])
            chapter("Stop", "every process ends")
        show_scores(scores)
        say(f"\n{time.monotonic() - start:.0f} s in all")


def index(client: Inkwright, path: str) -> None:
    """Try where the images are, register it, and wait for the index."""
    chapter("Dataset", f"{path} is indexed, nothing is copied")
    for step in client.check_connection(path).steps:
        say(f"{dataset_pb2.ConnectionStep.Kind.Name(step.kind)}: {step.message}")
    client.create_dataset("cards", path=path, description="generated cards and forms")
    counts = wait_ready(client).counts
    say(
        f"{counts.num_images} images: {counts.num_labeled} labelled with {counts.num_boxes} boxes, "
        f"{counts.num_unlabeled} unlabelled, {counts.num_rejected} rejected"
    )


def label(client: Inkwright, unlabelled: Sequence[GeneratedImage]) -> None:
    """Let the base suggest, tell how far that is from the truth, correct, submit."""
    chapter("Labels", "the base model types first, a person corrects (here: the generator's truth)")
    prelabel = client.create_prelabel("cards")
    *_, done = client.watch(lambda: client.get_prelabel(prelabel.name), until=lambda run: run.state != page_pb2.Prelabel.RUNNING)
    if done.state != page_pb2.Prelabel.SUCCEEDED:
        raise RuntimeError(f"the pages could not be read: {done.error_message}")
    pages = [client.get_page(client.find_image("cards", image.path.name).name.replace("/images/", "/pages/")) for image in unlabelled]
    suggested = measure_suggestions(pages, unlabelled)
    say(
        f"{done.num_boxes} suggestions on {len(pages)} pages; of the true lines {suggested.found:.1%} were found, "
        f"{suggested.exact:.1%} need no edit, {suggested.cer:.1%} of their characters are wrong"
    )
    num_edits = 0
    for page, image in zip(pages, unlabelled, strict=True):
        operations = edits(page, corrected(page, image))
        num_edits += len(operations)
        client.apply_operations(page.name, operations)
        client.submit_page(page.name)
    submitted = client.watch(lambda: client.get_dataset("cards"), until=lambda dataset: dataset.counts.num_unlabeled == 0)
    *_, dataset = submitted
    say(
        f"{num_edits} edits, {len(pages)} pages submitted, XML written beside the images; "
        f"{dataset.counts.num_unlabeled} images left without labels"
    )


def corrected(page: page_pb2.Page, image: GeneratedImage) -> list[WantedBox]:
    """What a person would leave on the page: the true lines, on the suggested box where there is one."""
    partner = partners(page, image)
    return [
        WantedBox(
            label=box.text,
            pos=[(float(x), float(y)) for x, y in box.quad],
            box_id=page.boxes[partner[line]].box_id if line in partner else "",
        )
        for line, box in enumerate(image.boxes)
    ]


def train(client: Inkwright) -> model_pb2.Model:
    """Train in fast mode and show the graph."""
    chapter("Training", "fast mode: the backbone is frozen, neck and head learn")
    client.create_task("first", task_pb2.Task(dataset="cards", mode=task_pb2.Task.FAST, description="the demo's task"))
    task = task_command.follow_task(client, "first")
    task_command.show(task, as_json=False)
    if task.state != task_pb2.Task.SUCCEEDED:
        raise RuntimeError(f"the task ended {task_pb2.Task.State.Name(task.state)}: {task.error_message}")
    return client.get_model(task.model)


def show_model(model: model_pb2.Model) -> None:
    """The model page's figures, on the task's own validation images."""
    chapter("Model", "measured on the validation images of the task")
    say(f"loss        {model.metrics['loss']:.4f}")
    for variant, size_bytes in model.model_size.items():
        say(f"model_size  {variant} {size_bytes:,} bytes")
    names = sorted(model.metrics.keys() - {"loss"})
    print_table(
        ("MEASURE", "BASE", "TRAINED"),
        [(n, f"{model.base_metrics[n]:.4f}" if n in model.base_metrics else "", f"{model.metrics[n]:.4f}") for n in names],
    )
    for reason in model.gate.reasons:
        say(reason)


def score(client: Inkwright, model: model_pb2.Model, held_out: Sequence[GeneratedImage], folder: Path) -> dict[str, EvaluationReport]:
    """Measure base and trained model on the held-out images, from their bundle files alone."""
    chapter("Held-out images", "both bundles read what neither has seen")
    bundle = folder / "first.inkbundle"
    say(f"exported {short(model.name)}: {client.export_model('first', bundle):,} bytes, bundle {model.bundle_digest[:12]}")
    return {"base": measure_bundle(base_bundle_path("ppocrv6-small"), held_out), "trained": measure_bundle(bundle, held_out)}


def deploy_and_call(client: Inkwright, model: model_pb2.Model, image: GeneratedImage) -> None:
    """Put the model behind an address and call it as any program would."""
    chapter("Deployment", "one instance, then a call of the public API with base64 over HTTP")
    client.create_deployment("reader", deployment_pb2.Deployment(model=model.name))
    *_, deployment = client.watch(
        lambda: client.get_deployment("reader"),
        until=lambda d: d.state in (deployment_pb2.Deployment.RUNNING, deployment_pb2.Deployment.FAILED),
    )
    if deployment.state != deployment_pb2.Deployment.RUNNING:
        raise RuntimeError(f"the deployment failed: {deployment.message}")
    address = client.rest.url + deployment.predict_path
    body = {"dataArray": [{"name": image.path.name, "type": "stream", "body": base64.b64encode(image.path.read_bytes()).decode()}]}
    answer = httpx.post(address, json=body, headers={"Authorization": client.reveal_token("reader")}, timeout=60)
    say(f"POST {address} ({image.path.name}, {image.path.stat().st_size:,} bytes) -> HTTP {answer.status_code}")
    console.print(answer.text, markup=False, soft_wrap=True)
    answer.raise_for_status()
    read = [line["label"] for line in json.loads(answer.text)["result"]["output"]]
    truth = [box.text for box in image.boxes]
    say(f"{len(set(truth) & set(read))} of its {len(truth)} lines are read without an error")


def show_scores(scores: dict[str, EvaluationReport]) -> None:
    """The table at the end."""
    console.print()
    base, trained = scores["base"], scores["trained"]
    print_table(
        ("HELD-OUT IMAGES", "BASE", "TRAINED"),
        [
            ("line accuracy on true boxes", f"{base.line_accuracy:.4f}", f"{trained.line_accuracy:.4f}"),
            ("CER on true boxes", f"{base.cer:.4f}", f"{trained.cer:.4f}"),
            ("end-to-end h-mean, exact", f"{base.end_to_end.hmean_exact:.4f}", f"{trained.end_to_end.hmean_exact:.4f}"),
            ("end-to-end h-mean, folded", f"{base.end_to_end.hmean_folded:.4f}", f"{trained.end_to_end.hmean_folded:.4f}"),
        ],
    )


def wait_ready(client: Inkwright) -> dataset_pb2.Dataset:
    """Wait until the index is built."""
    ended = (dataset_pb2.Dataset.READY, dataset_pb2.Dataset.FAILED)
    *_, dataset = client.watch(lambda: client.get_dataset("cards"), until=lambda dataset: dataset.state in ended)
    if dataset.state == dataset_pb2.Dataset.FAILED:
        raise RuntimeError(f"indexing failed: {dataset.error_message}")
    return dataset


def count_lines(images: Sequence[GeneratedImage]) -> int:
    """Lines of text over all images."""
    return sum(len(image.boxes) for image in images)


def chapter(title: str, what: str) -> None:
    """A heading."""
    console.print(f"\n[bold]{title}[/]: {what}")


def say(text: str) -> None:
    """One line, as it is."""
    console.print(text, markup=False, soft_wrap=True)
