"""The readers of every format but VOC: the layouts of the trade as their programs write them, and what is wrong with them in the wild."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.formats.all_formats import format_of
from libs.ocrkit.labels.page import Page, ReadOptions, Row
from tests.label_pages import HEIGHT, WIDTH, page_of, png, rows_of

CORNERS = [[10, 20], [110, 22], [110, 52], [10, 50]]
FLAT = [10, 20, 110, 22, 110, 52, 10, 50]


def texts(page: Page) -> list[tuple[str, bool]]:
    return [(box.text, box.unreadable) for box in page.boxes]


def codes(rows: list[Row]) -> list[str]:
    return [finding.code for row in rows for finding in row.findings]


def label_line(name: str, text: str = "A", **more: object) -> str:
    return f"{name}\t{json.dumps([{'transcription': text, 'points': CORNERS, 'difficult': False} | more], ensure_ascii=False)}\n"


def test_ppocrlabel_with_its_folder_before_the_name_and_its_states() -> None:
    files: dict[str, bytes | str] = {
        "b.png": png(),
        "Label.txt": label_line("photos/a.png", 'T, "x"', key_cls="total") + label_line("photos/b.png", "###"),
        "fileState.txt": "C:\\work\\photos\\a.png\t1\nC:\\work\\photos\\b.png\t0\n",
    }
    a, b = (row.page for row in rows_of(format_of("ppocrlabel"), files))
    assert a is not None
    assert b is not None
    assert (texts(a), a.confirmed, a.boxes[0].attributes) == ([('T, "x"', False)], True, {"key_cls": "total"})
    assert (texts(b), b.confirmed) == ([("###", True)], False)
    np.testing.assert_array_equal(a.boxes[0].quad, CORNERS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-be"])
def test_text_files_of_every_encoding(encoding: str) -> None:
    rows = rows_of(format_of("ppocrlabel"), {"Label.txt": label_line("a.png", "理财顾问").encode(encoding)})
    assert [texts(row.page) for row in rows if row.page] == [[("理财顾问", False)]]
    assert codes(rows) == (["WRONG_ENCODING"] if encoding == "gb18030" else [])


def test_a_bad_line_is_a_row_and_the_next_is_read() -> None:
    files = {
        "Label.txt": "no tab\n" + "a.png\t[{broken\n" + label_line("gone.png") + label_line("a.png") + label_line("a.png", "again"),
    }
    rows = rows_of(format_of("ppocrlabel"), files)
    assert [row.outcome for row in rows] == ["failed", "failed", "failed", "imported", "failed"]
    assert codes(rows) == ["LINE_UNREADABLE", "LINE_UNREADABLE", "IMAGE_MISSING", "LABELED_TWICE"]
    assert [row.findings[0].line for row in rows[:3]] == [1, 2, 3]


@pytest.mark.parametrize("said", ["./a.png", ".//a.png", "photos//a.png", "a.png ", "old\\a.png", "/home/somebody/photos/a.png"])
def test_images_are_found_under_the_names_of_other_machines(said: str) -> None:
    assert page_of(format_of("ppocrlabel"), {"Label.txt": label_line(said)}).name == "a.png"


def test_an_image_of_an_ambiguous_name_is_not_guessed() -> None:
    files: dict[str, bytes | str] = {"x/a.png": png(), "y/a.png": png(), "labels/Label.txt": label_line("z/a.png")}
    rows = rows_of(format_of("ppocrlabel"), files | {"a.png": png()})
    assert codes(rows)[0] == "IMAGE_AMBIGUOUS"


def test_icdar_2015_splits_eight_times() -> None:
    labels = "\ufeff10,20,110,22,110,52,10,50,RM 1,234.00, net\r\n10,60,110,60,110,80,10,80,###\r\n1,2,3\r\n10,90,110,90,110,99,10,99,\n"
    rows = rows_of(format_of("icdar2015"), {"gt_a.txt": labels})
    assert [texts(row.page) for row in rows if row.page] == [[("RM 1,234.00, net", False), ("###", True), ("", True)]]
    assert [(finding.code, finding.line) for row in rows for finding in row.findings] == [("LINE_UNREADABLE", 3)]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('38 43 320 115 "Tiredness"', "Tiredness"),
        ('38, 43, 320, 115, "Tiredness"', "Tiredness"),
        ('38, 43, 320, 115, "say "hi" to \'em"', 'say "hi" to \'em'),
        (r'38, 43, 320, 115, "say \"hi\" \\o/"', r'say "hi" \o/'),
        ('38 43 320 115 "1, 2, 3"', "1, 2, 3"),
        ("38 43 320 115 bare words", "bare words"),
    ],
)
def test_icdar_2013_in_both_forms_with_quotes_inside(line: str, text: str) -> None:
    page = page_of(format_of("icdar2013"), {"gt_a.txt": line if '"' in line else f'1 1 9 9 "x"\n{line}'})
    assert page.boxes[-1].text == text
    np.testing.assert_array_equal(page.boxes[-1].quad, quad_from_box(38, 43, 320, 115))


def test_an_empty_ground_truth_is_a_page_without_text_and_none_at_all_is_no_label() -> None:
    rows = rows_of(format_of("icdar2015"), {"gt_a.txt": "\n", "b.png": png()})
    assert [(row.name, row.outcome, row.page is not None) for row in rows] == [("a.png", "imported", True), ("b.png", "unlabeled", False)]


@pytest.mark.parametrize(
    ("key", "files"),
    [
        ("icdar-rec", {"gt.txt": 'a.png, "Genaxis "x" Theatre, 1"\n'}),
        ("ppocr-rec", {"crop_img/c.png": png(40, 12), "rec_gt.txt": 'crop_img/c.png\tGenaxis "x" Theatre, 1\n'}),
        ("pairs", {"train.tsv": 'a.png\tGenaxis "x" Theatre, 1\n'}),
        ("gt-txt", {"a.gt.txt": 'Genaxis "x" Theatre, 1\n'}),
        ("doctr-rec", {"images/c.png": png(40, 12), "labels.json": '{"c.png": "Genaxis \\"x\\" Theatre, 1"}'}),
    ],
)
def test_crops_are_pages_of_one_box(key: str, files: dict[str, bytes | str]) -> None:
    page = page_of(format_of(key), files)
    assert texts(page) == [('Genaxis "x" Theatre, 1', False)]
    np.testing.assert_array_equal(page.boxes[0].quad, quad_from_box(0, 0, page.width_px, page.height_px))


COCO_TEXT = {
    "cats": {},
    "anns": {
        "45346": {
            "mask": [10, 20, 110, 22, 110, 52, 10, 50],
            "class": "machine printed",
            "bbox": [10, 20, 100, 32],
            "image_id": 522579,
            "id": 45346,
            "language": "english",
            "area": 3000,
            "utf8_string": "the",
            "legibility": "legible",
        },
        "2": {"bbox": [200, 100, 50, 20], "image_id": 522579, "id": 2, "legibility": "illegible", "utf8_string": ""},
        "3": {"bbox": [200, 100, 50, 20], "image_id": 7, "id": 3, "utf8_string": "lost"},
    },
    "imgs": {"522579": {"file_name": "a.png", "height": HEIGHT, "width": WIDTH, "id": 522579, "set": "train"}},
    "imgToAnns": {"522579": [45346, 2]},
    "info": {},
}


def test_coco_text() -> None:
    rows = rows_of(format_of("coco-text"), {"cocotext.v2.json": json.dumps(COCO_TEXT)})
    page = rows[0].page
    assert page is not None
    assert texts(page) == [("the", False), ("", True)]
    assert page.boxes[0].attributes == {"class": "machine printed", "language": "english"}
    np.testing.assert_array_equal(page.boxes[0].quad, CORNERS)
    np.testing.assert_array_equal(page.boxes[1].quad, quad_from_box(200, 100, 250, 120))
    assert codes(rows) == ["IMAGE_UNKNOWN"]


def test_textocr() -> None:
    document = {
        "imgs": {"0a": {"id": "0a", "width": WIDTH, "height": HEIGHT, "set": "val", "file_name": "train/a.png"}},
        "anns": {
            "0a_1": {"id": "0a_1", "image_id": "0a", "bbox": [0, 0, 9, 9], "utf8_string": "W", "points": FLAT, "area": 3000},
            "0a_2": {"id": "0a_2", "image_id": "0a", "bbox": [50, 60, 30, 10], "utf8_string": ".", "area": 300},
        },
        "imgToAnns": {"0a": ["0a_1", "0a_2"]},
    }
    page = page_of(format_of("coco-text"), {"TextOCR.json": json.dumps(document)})
    assert texts(page) == [("W", False), (".", True)]
    np.testing.assert_array_equal(page.boxes[0].quad, CORNERS)


def region(kind: str, value: Mapping[str, object], *, rotation: int = 0, text: str = "T") -> list[dict[str, object]]:
    common = {"id": "ab12", "to_name": "image", "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": rotation}
    return [
        {**common, "from_name": "shape", "type": kind, "value": value},
        {**common, "from_name": "transcription", "type": "textarea", "value": {**value, "text": [text]}},
    ]


def task(*results: dict[str, object], image: str = "/data/upload/3/1a2b3c4d-a.png", **more: object) -> dict[str, object]:
    return {"id": 1, "annotations": [{"result": list(results)}], "data": {"ocr": image}} | more


@pytest.mark.parametrize(
    ("value", "rotation", "corners"),
    [
        ({"x": 10, "y": 20, "width": 25, "height": 10, "rotation": 0}, 0, [[64, 96], [224, 96], [224, 144], [64, 144]]),
        # About its top left corner, which stays.
        ({"x": 50, "y": 20, "width": 25, "height": 10, "rotation": 90}, 0, [[320, 96], [320, 256], [272, 256], [272, 96]]),
        # The image was shown turned clockwise, 480 wide and 640 high: its top left is the bottom left of the image.
        ({"x": 0, "y": 0, "width": 10, "height": 10, "rotation": 0}, 90, [[0, 480], [0, 432], [64, 432], [64, 480]]),
        ({"x": 0, "y": 0, "width": 10, "height": 10, "rotation": 0}, 180, [[640, 480], [576, 480], [576, 432], [640, 432]]),
        ({"points": [[0, 0], [10, 0], [10, 10], [0, 10]]}, 270, [[640, 0], [640, 48], [576, 48], [576, 0]]),
    ],
)
def test_label_studio_places(value: dict[str, object], rotation: int, corners: list[list[float]]) -> None:
    kind = "polygon" if "points" in value else "rectangle"
    document = json.dumps([task(*region(kind, value, rotation=rotation))])
    page = page_of(format_of("label-studio"), {"export.json": document})
    assert texts(page) == [("T", False)]
    np.testing.assert_allclose(page.boxes[0].quad, corners, atol=1e-6)


def test_label_studio_tasks_without_labels_with_predictions_and_cancelled_ones() -> None:
    shape = {"x": 10, "y": 20, "width": 25, "height": 10, "rotation": 0}
    cancelled = {"result": region("rectangle", shape, text="NO"), "was_cancelled": True}
    tasks = [
        task(image="s3://bucket/a.png", annotations=[cancelled], predictions=[{"result": region("rectangle", shape, text="GUESS")}]),
        task(image="http://host/images/b.png?x=1", annotations=[]),
        {"data": {"words": 1}},
    ]
    rows = rows_of(format_of("label-studio"), {"b.png": png(), "export.json": json.dumps(tasks)})
    assert [texts(row.page) for row in rows if row.page] == [[("GUESS", False)]]
    assert [row.outcome for row in rows] == ["imported", "unlabeled", "failed"]
    assert [code for code in codes(rows) if code != "IMAGE_ELSEWHERE"] == ["PREDICTION_TAKEN", "NOT_LABELED", "LINE_UNREADABLE"]


def itag_line(**stages: str) -> str:
    def results(text: str) -> dict[str, object]:
        entry = {"id": "1", "type": "image/polygon", "value": CORNERS, "labels": {"OCR识别结果": text, "单选": "标签1"}}
        result = {"questionId": "1", "data": [entry], "rotation": 0, "markTitle": "OCR标签配置", "width": WIDTH, "height": HEIGHT}
        return {"results": [result]}

    line = {"data": {"source": "oss://bucket/a.png"}} | {f"label-1586{stage}": results(text) for stage, text in stages.items()}
    return json.dumps(line, ensure_ascii=False)


@pytest.mark.parametrize(
    ("stages", "text"),
    [
        ({"": "理财顾问"}, "理财顾问"),
        ({"": "first", "-check": "second"}, "second"),
        ({"-verify": "third", "": "first", "-check": "second"}, "third"),
    ],
)
def test_itag_takes_the_last_stage(stages: dict[str, str], text: str) -> None:
    page = page_of(format_of("itag"), {"out.manifest": itag_line(**stages)})
    assert texts(page) == [(text, False)]
    assert page.boxes[0].attributes == {"单选": "标签1"}
    assert page.confirmed == (text != "理财顾问")
    np.testing.assert_array_equal(page.boxes[0].quad, CORNERS)


def test_doctr_detection() -> None:
    document = {"a.png": {"img_dimensions": [HEIGHT, WIDTH], "img_hash": "0", "polygons": [CORNERS, "broken"]}}
    rows = rows_of(format_of("doctr-det"), {"labels.json": json.dumps(document)})
    assert [texts(row.page) for row in rows if row.page] == [[("", True)]]
    assert codes(rows) == ["NO_SHAPE"]


def test_what_was_read_before_a_json_file_breaks_off_is_kept() -> None:
    whole = json.dumps([task(*region("rectangle", {"x": 1, "y": 1, "width": 9, "height": 9}))] * 2)
    rows = rows_of(format_of("label-studio"), {"export.json": whole[: len(whole) * 3 // 4]})
    assert [row.outcome for row in rows] == ["imported", "failed"]
    assert codes(rows) == ["LABEL_UNREADABLE"]


def test_an_image_that_is_missing_has_the_size_that_its_labels_say() -> None:
    document = json.dumps(COCO_TEXT).replace("a.png", "gone.png")
    rows = rows_of(format_of("coco-text"), {"labels.json": document})
    page = rows[0].page
    assert page is not None
    assert (page.name, page.width_px, page.height_px) == ("gone.png", WIDTH, HEIGHT)
    assert codes(rows)[0] == "IMAGE_MISSING"


def test_texts_are_cleaned_and_composed_on_request_only() -> None:
    files = {"Label.txt": label_line("a.png", "  cafe\u0301\n\tau  lait\x07! ")}
    plain = page_of(format_of("ppocrlabel"), files)
    assert texts(plain) == [("cafe\u0301 au  lait !", False)]
    composed = page_of(format_of("ppocrlabel"), files, ReadOptions(nfc=True))
    assert texts(composed) == [("caf\u00e9 au  lait !", False)]
    assert composed.boxes[0].attributes == {"original_text": "cafe\u0301 au  lait !"}


VOC = (
    "<annotation>{}<object><name>A</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>90</xmax><ymax>30</ymax></bndbox></object></annotation>"
)


@pytest.mark.parametrize(
    ("image", "label", "said"),
    [
        ("x/b.png", "x/b.xml", "<filename>other.jpg</filename>"),
        ("JPEGImages/b.png", "Annotations/b.xml", ""),
        ("x/b.png", "x/label-7.xml", "<filename>b.png</filename>"),
        ("x/b.PNG", "x/b.XML", ""),
    ],
)
def test_voc_is_paired_by_stem_and_else_by_the_name_it_says(image: str, label: str, said: str) -> None:
    rows = rows_of(format_of("voc"), {image: png(), label: VOC.format(said)})
    assert [row.name for row in rows if row.page] == [image]


def test_voc_of_two_images_of_one_stem_is_read_for_both_with_a_warning() -> None:
    rows = rows_of(format_of("voc"), {"a.bmp": png(), "a.xml": VOC.format("")})
    assert [(row.name, row.outcome) for row in rows] == [("a.bmp", "imported"), ("a.png", "imported")]
    assert codes(rows) == ["LABEL_SHARED", "LABEL_SHARED"]


def test_voc_without_its_image() -> None:
    size = "<filename>gone.png</filename><size><width>100</width><height>50</height></size>"
    rows = rows_of(format_of("voc"), {"gone.xml": VOC.format(size), "lost.xml": VOC.format("")})
    assert [(row.name, row.outcome) for row in rows[:2]] == [("gone.png", "imported"), ("lost.xml", "failed")]
    assert codes(rows) == ["IMAGE_MISSING", "IMAGE_MISSING"]


def test_findings_of_one_file_are_bounded() -> None:
    (row, *_) = rows_of(format_of("icdar2015"), {"gt_a.txt": "1,1,9,1,9,9,1,9,A\n" + "nonsense\n" * 5000})
    assert row.outcome == "skipped"
    assert len(row.findings) == 201
    assert "4800 further" in row.findings[-1].message
