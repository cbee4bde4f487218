"""Reading with the real base models."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from libs.client.cli import app
from libs.ocrkit.bundle import Bundle, BundleInvalid, open_bundle, write_bundle
from libs.ocrkit.engines.engine import Engine, load_engine
from libs.ocrkit.geometry import clip_quad, quad_area, quad_from_box, quad_iou, quad_rotated
from libs.ocrkit.image_io import Scan
from libs.ocrkit.make_models import make_models
from libs.ocrkit.models import BASES, base_bundle_path
from libs.ocrkit.postprocess.ctc import decode_greedy
from libs.ocrkit.reader import Reader
from libs.ocrkit.reading import open_named_bundle, read_folder
from libs.ocrkit.training.package import package_detector
from libs.runtime.errors import InvalidInput, NotFound

LINES = ["TOTAL RM 123.45", "Invoice No. 0042", "Thank you, come again"]
TOLERANCE = {"f32": 1e-3, "bf16": 0.1}
"""By how much a probability of the detector, or that of a step of the recognizer on average, may differ from ONNX Runtime's, by the
precision that OpenVINO computes in here."""


@pytest.fixture(scope="module")
def base() -> Bundle:
    return open_bundle(base_bundle_path())


@pytest.fixture(scope="module")
def openvino(base: Bundle) -> Iterator[Engine]:
    engine = load_engine(base, num_threads=2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def onnxruntime(base: Bundle) -> Iterator[Engine]:
    engine = load_engine(base, engine="onnxruntime", num_threads=2)
    yield engine
    engine.close()


def page_of(lines: list[str]) -> NDArray[np.uint8]:
    page = np.full((90 + 90 * len(lines), 640, 3), 245, np.uint8)
    for index, line in enumerate(lines):
        cv2.putText(page, line, (40, 90 + 90 * index), cv2.FONT_HERSHEY_DUPLEX, 1.2, (40, 30, 20), 2, cv2.LINE_AA)
    return page


def test_a_page_is_read_in_order_in_its_own_pixels(base: Bundle, openvino: Engine) -> None:
    lines = Reader(base, openvino).read(page_of(LINES))
    assert [line.text.replace(" ", "") for line in lines] == [line.replace(" ", "") for line in LINES]
    for index, line in enumerate(lines):
        (width, _), _ = cv2.getTextSize(LINES[index], cv2.FONT_HERSHEY_DUPLEX, 1.2, 2)
        assert quad_iou(line.quad, quad_from_box(40, 60 + 90 * index, 40 + width, 98 + 90 * index)) > 0.6
        assert 0.8 < line.conf <= 1


def test_a_large_scan_reads_as_the_page_itself(base: Bundle, openvino: Engine) -> None:
    page = cv2.resize(page_of(LINES), None, fx=6.5, fy=6.5, interpolation=cv2.INTER_CUBIC)
    reader = Reader(base, openvino)
    whole = reader.read(np.asarray(page, dtype=np.uint8))
    scan = Scan(cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    lines = reader.read_scan(scan, characters=True)
    assert [line.text for line in lines] == [line.text for line in whole]
    for line, same in zip(lines, whole, strict=True):
        assert quad_iou(line.quad, same.quad) > 0.9
        assert all(quad_iou(line.quad, character.quad) > 0 for character in line.characters if character.text != " ")


def test_no_usual_line_is_of_a_size_that_was_not_warmed_up(base: Bundle, openvino: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: set[tuple[int, ...]] = set()
    recognize = openvino.recognize

    def noted(x_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        sizes.add(x_B3HW.shape)
        return recognize(x_B3HW)

    monkeypatch.setattr(openvino, "recognize", noted)
    reader = Reader(base, openvino)
    reader.warm_up()
    warm = set(sizes)
    assert reader.read(page_of([*LINES, "A", "12", "0.50", "No", "x"]))
    assert sizes == warm


def test_a_turned_page_reads_the_same(base: Bundle, openvino: Engine) -> None:
    matrix = cv2.getRotationMatrix2D((320, 180), 9, 1)
    page = np.asarray(cv2.warpAffine(page_of(LINES), matrix, (640, 360), borderValue=(245, 245, 245)), dtype=np.uint8)
    lines = Reader(base, openvino).read(page)
    assert [line.text.replace(" ", "") for line in lines] == [line.replace(" ", "") for line in LINES]
    assert all(line.quad[0, 1] > line.quad[1, 1] for line in lines)


def test_text_on_its_head_is_read_where_the_model_allows(base: Bundle, openvino: Engine, tmp_path: Path) -> None:
    manifest = base.manifest
    settings = replace(manifest.postprocess, turn_below=0.98)
    turning = package_detector(tmp_path / "turning.inkbundle", base, base.read(manifest.detector.file), None, settings)
    page = np.ascontiguousarray(page_of(LINES)[::-1, ::-1])
    lines = Reader(turning, openvino).read(page)
    # Whether it says O or 0 in capitals hangs by the rounding of the processor at hand.
    assert sorted(_folded(line.text) for line in lines) == sorted(map(_folded, LINES))
    # The text begins at the right, below.
    assert all(line.quad[0, 0] > line.quad[1, 0] and line.quad[0, 1] > line.quad[3, 1] for line in lines)
    upright = Reader(turning, openvino).read(page_of(LINES))
    assert [line.text for line in upright] == [line.text for line in Reader(base, openvino).read(page_of(LINES))]


@pytest.mark.parametrize("quarter_turns", [1, 3])
def test_text_on_its_side_is_read_both_ways(base: Bundle, openvino: Engine, quarter_turns: int) -> None:
    page = np.ascontiguousarray(np.rot90(page_of(LINES), quarter_turns))
    lines = Reader(base, openvino).read(page)
    assert sorted(line.text.replace(" ", "") for line in lines) == sorted(line.replace(" ", "") for line in LINES)
    for line in lines:
        assert np.ptp(line.quad[:, 1]) > 3 * np.ptp(line.quad[:, 0])
        top_left, top_right = line.quad[:2]
        assert (top_right[1] > top_left[1]) == (quarter_turns == 3)


def test_given_quads_are_read_in_their_own_order_and_direction(base: Bundle, openvino: Engine) -> None:
    page = page_of(LINES)
    upside_down = np.ascontiguousarray(page[::-1, ::-1])
    quads = [quad_rotated(640 - 220, 360 - (78 + 90 * index), 420, 56, np.pi) for index in (2, 0)]
    texts = [text.replace(" ", "") for text, _ in Reader(base, openvino).read_lines(upside_down, quads)]
    assert texts == [LINES[2].replace(" ", ""), LINES[0].replace(" ", "")]


def test_a_line_reads_the_same_alone_and_among_others(base: Bundle, openvino: Engine) -> None:
    reader, page = Reader(base, openvino), page_of(LINES)
    quads = [quad_from_box(30, 50 + 90 * index, 500, 105 + 90 * index) for index in range(3)] * 4
    together = reader.read_lines(page, quads)
    for quad, (text, conf) in zip(quads[:3], together, strict=False):
        ((alone, alone_conf),) = reader.read_lines(page, [quad])
        assert alone == text
        assert alone_conf == pytest.approx(conf, abs=0.05)


def test_a_line_far_longer_than_usual_is_not_cut(base: Bundle, openvino: Engine) -> None:
    text = " ".join(f"item{index:02d}" for index in range(20))
    page = np.full((70, 2900, 3), 255, np.uint8)
    cv2.putText(page, text, (20, 48), cv2.FONT_HERSHEY_DUPLEX, 1.0, (0, 0, 0), 2, cv2.LINE_AA)
    ((read, _),) = Reader(base, openvino).read_lines(page, [quad_from_box(5, 8, 2895, 66)])
    assert read.replace(" ", "")[:12] == "item00item01"
    assert read.replace(" ", "")[-6:] == "item19"


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (7, 13), (30, 30), (3, 2000), (2000, 3)])
def test_no_image_is_too_small_or_too_thin(base: Bundle, openvino: Engine, size: tuple[int, int]) -> None:
    reader = Reader(base, openvino)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for image in (np.full((*size, 3), 255, np.uint8), noise):
        for line in reader.read(image):
            assert line.text
            assert (line.quad >= 0).all()
            assert (line.quad <= (size[1], size[0])).all()
    assert len(reader.read_lines(noise, [quad_from_box(0, 0, size[1], size[0])])) == 1


def test_engines_agree(base: Bundle, openvino: Engine, onnxruntime: Engine) -> None:
    in_float = load_engine(base, num_threads=2, precision="float")
    bound = TOLERANCE[in_float.name.removeprefix("openvino-")]
    generator = np.random.default_rng(5)
    x_detector = generator.normal(size=(1, 3, 160, 224)).astype(np.float32)
    np.testing.assert_allclose(in_float.detect(x_detector), onnxruntime.detect(x_detector), atol=bound)
    for width_px in (64, 320):
        crops = [np.asarray(cv2.resize(page_of([line])[50:110, 30 : 30 + width_px], (width_px, 48)), dtype=np.float32) for line in LINES]
        x_lines = np.stack([crop.transpose(2, 0, 1) / 127.5 - 1 for crop in crops])
        ours, theirs = in_float.recognize(x_lines), onnxruntime.recognize(x_lines)
        assert ours.shape == theirs.shape == (3, width_px // 8, base.charset.num_classes)
        # In bf16 a character may come a step earlier, which moves all of that step's probability: the whole is compared.
        assert np.abs(ours - theirs).sum(axis=-1).mean() / 2 < bound
    assert [text for text, _ in decode_greedy(ours, base.charset)] == [text for text, _ in decode_greedy(theirs, base.charset)]


def test_eight_bits_say_the_same(base: Bundle, openvino: Engine, onnxruntime: Engine) -> None:
    assert openvino.name == "openvino-int8"
    page = page_of(LINES)
    ours, theirs = (Reader(base, engine).read(page) for engine in (openvino, onnxruntime))
    assert [line.text for line in ours] == [line.text for line in theirs] == LINES
    for line, other in zip(ours, theirs, strict=True):
        assert quad_iou(line.quad, other.quad) > 0.8
        assert abs(line.conf - other.conf) < 0.05


def test_characters_stand_where_they_are_drawn(base: Bundle, openvino: Engine) -> None:
    (line,) = Reader(base, openvino).read(page_of(["AB  12"]), characters=True)
    assert "".join(character.text for character in line.characters) == line.text
    lefts = [float(character.quad[0, 0]) for character in line.characters if character.text != " "]
    assert lefts == sorted(lefts)
    inside = [quad_area(clip_quad(character.quad, 640, 180)[0]) for character in line.characters]
    assert all(area > 0 for area in inside)
    a, b, one, _ = lefts
    assert one - b > 1.5 * (b - a)
    assert all(0 < character.conf <= 1 for character in line.characters)


def test_threads_share_a_reader(base: Bundle) -> None:
    engine = load_engine(base, num_threads=2, mode="throughput")
    reader = Reader(base, engine)
    pages = [page_of(LINES[: 1 + index % 3]) for index in range(6)]
    alone = [[line.text for line in reader.read(page)] for page in pages]
    with ThreadPoolExecutor(3) as threads:
        together = [[line.text for line in lines] for lines in threads.map(reader.read, pages)]
    assert together == alone
    engine.close()


def test_results_stay_as_they_are_when_the_engine_runs_again(openvino: Engine) -> None:
    first = openvino.detect(np.zeros((1, 3, 64, 64), np.float32))
    kept = first.copy()
    openvino.detect(np.ones((1, 3, 64, 64), np.float32))
    np.testing.assert_array_equal(first, kept)


def test_every_base_reads() -> None:
    for known in BASES:
        bundle = open_named_bundle(known.name)
        assert "Apache" in bundle.manifest.license_notice
        engine = load_engine(bundle, num_threads=2)
        texts = [line.text.replace(" ", "") for line in Reader(bundle, engine).read(page_of(LINES[:1]))]
        assert texts == ["TOTALRM123.45"]
        engine.close()


def test_a_folder_is_read_and_broken_images_are_told(base: Bundle, tmp_path: Path) -> None:
    whole = cv2.imencode(".jpg", page_of(LINES[:1]))[1].tobytes()
    (tmp_path / "b.jpg").write_bytes(whole)
    (tmp_path / "a.JPEG").write_bytes(cv2.imencode(".jpg", np.full((40, 40, 3), 255, np.uint8))[1].tobytes())
    (tmp_path / "cut.jpg").write_bytes(whole[:-800])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "b.xml").write_text("<annotation/>")
    told: list[tuple[str, int, int]] = []
    reading = read_folder(base, tmp_path, num_threads=2, on_page=lambda path, done, total: told.append((path.name, done, total)))
    assert list(reading.pages) == ["a", "b"]
    assert reading.pages["a"] == []
    (line,) = reading.pages["b"]
    assert line["label"].replace(" ", "") == "TOTALRM123.45"
    assert np.array(line["pos"]).shape == (4, 2)
    assert [(unread.path.name, bool(unread.message)) for unread in reading.unread] == [("cut.jpg", True), ("empty.png", True)]
    assert told == [("a.JPEG", 1, 4), ("b.jpg", 2, 4), ("cut.jpg", 3, 4), ("empty.png", 4, 4)]


def test_the_command_that_reads_a_folder_fails_for_what_it_could_not_read(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "blank.png").write_bytes(cv2.imencode(".png", np.full((40, 40, 3), 255, np.uint8))[1].tobytes())
    command = ["read", "--bundle", "base", "--images", str(images), "--out", str(tmp_path / "out.json")]
    assert CliRunner().invoke(app, command).exit_code == 0
    (images / "empty.png").write_bytes(b"")
    assert CliRunner().invoke(app, command).exit_code == 4
    # What could be read is there all the same.
    assert json.loads((tmp_path / "out.json").read_bytes()) == {"blank": []}


def test_folders_that_cannot_be_read_say_why(base: Bundle, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        read_folder(base, tmp_path / "missing", num_threads=1)
    with pytest.raises(InvalidInput, match="holds no image"):
        read_folder(base, tmp_path, num_threads=1)
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InvalidInput, match="rename one"):
        read_folder(base, tmp_path, num_threads=1)


def test_bundles_are_named_by_base_name_or_file(base: Bundle, tmp_path: Path) -> None:
    assert open_named_bundle("base").digest == base.digest
    assert open_named_bundle(str(base.path)).digest == base.digest
    with pytest.raises(NotFound, match="ppocrv6-small"):
        open_named_bundle("unknown")
    with pytest.raises(NotFound, match="no bundle at"):
        open_named_bundle(str(tmp_path / "missing.inkbundle"))
    (tmp_path / "bad.inkbundle").write_bytes(b"bad")
    with pytest.raises(BundleInvalid):
        open_named_bundle(str(tmp_path / "bad.inkbundle"))
    with pytest.raises(NotFound, match="make models"):
        base_bundle_path(folder=tmp_path)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


@pytest.mark.usefixtures("no_network")
@pytest.mark.long
def test_models_that_are_there_need_no_network(base: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for known in BASES:
        shutil.copy(base_bundle_path(known.name), folder)
    paths = make_models(folder)
    assert [open_bundle(path).digest for path in paths] == [open_bundle(base_bundle_path(known.name)).digest for known in BASES]
    before = [path.stat().st_mtime_ns for path in paths]
    assert [path.stat().st_mtime_ns for path in make_models(folder)] == before
    # One whose manifest is of another release is written anew from its own graphs.
    files = {name: base.read(name) for name in base.manifest.files}
    write_bundle(paths[0], base.manifest.model_copy(update={"license_notice": "another"}), files)
    assert open_bundle(make_models(folder)[0]).digest == base.digest
    assert "Apache License, Version 2.0" in (folder / "NOTICE.txt").read_text()


@pytest.mark.usefixtures("no_network")
def test_without_network_the_first_time_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="needs network") as caught:
        make_models(tmp_path / "models")
    assert caught.value.metadata["package"] == "rapidocr==3.10.0"
    assert list((tmp_path / "models").iterdir()) == []


def _folded(text: str) -> str:
    return text.replace(" ", "").replace("O", "0")
