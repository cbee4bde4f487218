"""Training with the real base models: parity before and after, and a whole small training."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from libs.ocrkit.bundle import Bundle, open_bundle
from libs.ocrkit.charset import BASE_ALPHABET, COLUMN_BREAK
from libs.ocrkit.evaluate import evaluate_bundle, read_labelled
from libs.ocrkit.gate import judge
from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.graph.module import OnnxModule
from libs.ocrkit.graph.surgery import cut_head
from libs.ocrkit.graph.writeback import write_back
from libs.ocrkit.labels.page import TextBox
from libs.ocrkit.models import BASES, base_bundle_path
from libs.ocrkit.training.choose_base import choose_base
from libs.ocrkit.training.data import LabelledPage, LineSample, charset_of, collect_lines
from libs.ocrkit.training.depth import Depth, choose_depth
from libs.ocrkit.training.events import TrainingEvent
from libs.ocrkit.training.losses import ctc_loss
from libs.ocrkit.training.package import package
from libs.ocrkit.training.parity import PARITY_BOUND
from libs.ocrkit.training.recognizer import train_recognizer
from libs.ocrkit.training.spec import NothingToTrain, RecognizerTrainingSpec
from tests.integration.tiny_bundle import write_tiny_bundle


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Training sets the number of threads of the process: put it back."""
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(params=[base.name for base in BASES])
def base(request: pytest.FixtureRequest) -> Bundle:
    """Each base model; without ``make models`` this fails and says so."""
    return open_bundle(base_bundle_path(request.param))


def in_onnx_runtime(graph: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(graph)
    output: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: x})[0]
    return output


def test_recognizer_equals_onnx_runtime_before_and_after_training(base: Bundle) -> None:
    charset = charset_of(["日本"])
    graph = cut_head(base.read(base.manifest.recognizer.file), base.charset, charset)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 48, 192)).astype(np.float32)
    module = OnnxModule(graph)
    with torch.no_grad():
        before = module(torch.from_numpy(x)).numpy()
    assert np.abs(before - in_onnx_runtime(graph, x)).max() <= PARITY_BOUND

    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(2):
        logits_BTC = module.forward_until(module.logits_name, torch.from_numpy(x))
        loss = ctc_loss(logits_BTC, [charset.encode("日本 a1"), charset.encode("Total")])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        after = module(torch.from_numpy(x)).numpy()
    written = write_back(graph, module)
    assert np.abs(after - in_onnx_runtime(written, x)).max() <= PARITY_BOUND
    assert np.abs(after - before).max() > 0.01


def test_detector_equals_onnx_runtime(base: Bundle) -> None:
    graph = base.read(base.manifest.detector.file)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 96, 160)).astype(np.float32)
    with torch.no_grad():
        ours = OnnxModule(graph)(torch.from_numpy(x)).numpy()
    assert np.abs(ours - in_onnx_runtime(graph, x)).max() <= PARITY_BOUND


def test_the_split_graph_is_the_whole_graph(base: Bundle) -> None:
    module = OnnxModule(base.read(base.manifest.recognizer.file))
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 3, 48, 128)).astype(np.float32))
    cut_at = module.output_of("AveragePool")
    with torch.no_grad():
        assert torch.equal(module.forward_from(cut_at, module.forward_until(cut_at, x)), module(x))
    tail = {name for name, _ in module.named_weights(after=cut_at)}
    assert 10 < len(tail) < len(list(module.named_weights()))


CODES = [
    f"{letter}{number:03d}-{word}" for number, (letter, word) in enumerate(zip("ABCDEFGH" * 4, ["KX", "LO", "QT", "ZA"] * 8, strict=True))
]


def draw_pages(folder: Path, codes: list[str]) -> tuple[LabelledPage, ...]:
    """One page for each four codes, each code on a line of its own, the last line a box nobody can read."""
    folder.mkdir()
    pages = []
    for start in range(0, len(codes), 4):
        image = np.full((260, 420, 3), 240, dtype=np.uint8)
        boxes = []
        for row, code in enumerate(codes[start : start + 4]):
            cv2.putText(image, code, (20, 50 + 50 * row), cv2.FONT_HERSHEY_DUPLEX, 1.0, (40, 30, 30), 2, cv2.LINE_AA)
            (width, height), below = cv2.getTextSize(code, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
            # The label says what no base model could know: a slash for every hyphen.
            boxes.append(TextBox(quad_from_box(18, 46 + 50 * row - height, 22 + width, 52 + 50 * row + below // 2), code.replace("-", "/")))
        boxes.append(TextBox(quad_from_box(20, 225, 120, 250), "###", unreadable=True))
        path = folder / f"page{start:03d}.png"
        cv2.imwrite(str(path), image)
        pages.append(LabelledPage(path, tuple(boxes)))
    return tuple(pages)


@pytest.fixture
def spec(tmp_path: Path) -> RecognizerTrainingSpec:
    """Seven pages to learn from, one to validate on."""
    pages = draw_pages(tmp_path / "images", CODES)
    return RecognizerTrainingSpec(
        base_bundle=base_bundle_path(),
        training=pages[:-1],
        validation=pages[-1:],
        work_dir=tmp_path / "work",
        num_threads=2,
        epochs=30,
        num_copies=1,
        replay=False,
    )


def test_a_small_training_teaches_what_the_base_does_not_know(spec: RecognizerTrainingSpec, tmp_path: Path) -> None:
    events: list[TrainingEvent] = []
    result = train_recognizer(spec, events.append)
    assert result.base_validation.line_accuracy == 0.0
    assert result.validation.line_accuracy == 1.0
    assert result.parity <= PARITY_BOUND
    assert result.num_samples == 28
    assert result.rejected == {"UNREADABLE": 7}
    assert set(result.charset.characters) == {*BASE_ALPHABET, COLUMN_BREAK}
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {event.stage for event in events} == {"lines", "detector", "features", "train", "write"}
    assert all("val_cer" in event.values for event in events if event.kind == "metrics")

    base = open_bundle(spec.base_bundle)
    trained = package(
        tmp_path / "trained.inkbundle",
        base,
        result.onnx,
        result.int8_onnx,
        result.charset,
        result.postprocess,
        name="trained",
        metrics={"val_cer": result.validation.cer},
        parity={"rec": result.parity},
        dataset_version="projects/default/datasets/d/versions/1",
        code_version="test",
    )
    assert trained.manifest.base == base.digest
    reports = [evaluate_bundle(bundle, spec.validation, num_threads=2) for bundle in (trained, base)]
    assert reports[0].line_accuracy == 1.0
    assert reports[0].end_to_end.hmean_exact == 1.0
    assert reports[1].line_accuracy == 0.0
    in_float = read_labelled(trained, spec.validation, precision="float", num_threads=2)
    elsewhere = evaluate_bundle(trained, spec.validation, engine="onnxruntime", num_threads=2)
    assert [line.read for line in reports[0].lines] == [line.read for line in in_float] == [line.read for line in elsewhere.lines]
    verdict = judge(*reports, parity=trained.manifest.parity)
    assert verdict.passed, verdict.reasons


@pytest.mark.long
def test_equal_seeds_give_equal_weights(spec: RecognizerTrainingSpec, tmp_path: Path) -> None:
    short = replace(spec, epochs=2, num_copies=0, detector_boxes=False, num_threads=1)
    graphs = [train_recognizer(replace(short, work_dir=tmp_path / name), lambda event: None).onnx for name in ("one", "two")]
    assert graphs[0] == graphs[1]


@pytest.mark.long
@pytest.mark.parametrize("mode", ["deep", "full"])
def test_more_of_the_network_can_be_trained(spec: RecognizerTrainingSpec, mode: Literal["deep", "full"]) -> None:
    said: list[str] = []
    short = replace(spec, mode=mode, epochs=6, num_copies=0, detector_boxes=False, replay=False)
    result = train_recognizer(short, lambda event: said.append(event.message))
    assert result.validation.loss < result.base_validation.loss
    assert 0 < result.parity <= PARITY_BOUND


@pytest.mark.long
def test_the_chosen_depth_outlives_a_crash(spec: RecognizerTrainingSpec) -> None:
    class PowerCut(Exception):
        pass

    def cut(event: TrainingEvent) -> None:
        if event.stage == "train":
            raise PowerCut

    short = replace(spec, epochs=1, num_copies=0, detector_boxes=False)
    with pytest.raises(PowerCut):
        train_recognizer(short, cut)
    said: list[str] = []
    train_recognizer(short, lambda event: said.append(event.message))
    assert "mode fast: chosen before the training was interrupted" in said
    assert not (short.work_dir / "depth").exists()


@pytest.mark.parametrize(
    ("num_lines", "seconds", "depth", "why"),
    [
        (299, 1e9, Depth.FAST, "by heart"),
        (300, 1e9, Depth.DEEP, "passes"),
        (2000, 1e9, Depth.FULL, "passes"),
        (2000, 0.1, Depth.FAST, "needed"),
    ],
)
def test_depth_follows_lines_and_time(num_lines: int, seconds: float, depth: Depth, why: str) -> None:
    graph = open_bundle(base_bundle_path()).read("rec.onnx")
    said: list[str] = []
    samples = [LineSample(Path("page.png"), quad_from_box(0, 0, 200, 20), "x")] * num_lines
    assert choose_depth(graph, samples, 0.2, seconds=seconds, say=said.append) is depth
    assert why in " ".join(said)


def test_the_base_that_reads_best_is_begun_with(spec: RecognizerTrainingSpec, tmp_path: Path) -> None:
    samples = collect_lines(spec.training).samples
    broken = write_tiny_bundle(tmp_path / "broken.inkbundle", fails_when_run=True)
    chosen, rates = choose_base({"broken": broken, "small": open_bundle(base_bundle_path())}, samples, num_threads=2)
    assert chosen == "small"
    assert rates["broken"] == 1.0
    assert rates["small"] < 0.9


def test_pages_without_a_usable_line_are_refused(spec: RecognizerTrainingSpec) -> None:
    unreadable = tuple(LabelledPage(page.image, page.boxes[-1:]) for page in spec.training)
    with pytest.raises(NothingToTrain):
        train_recognizer(replace(spec, training=unreadable), lambda event: None)
