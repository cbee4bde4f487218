"""VOC files as each program writes them, and what is only done when it is asked for."""

import math

import numpy as np
import pytest

from libs.ocrkit.geometry import quad_from_box
from libs.ocrkit.labels.page import ReadOptions
from libs.ocrkit.labels.voc import VocPage, read_voc, write_voc

WIDTH, HEIGHT = 640, 480
BOX = "<bndbox><xmin>10</xmin><xmax>110</xmax><ymin>20</ymin><ymax>50</ymax></bndbox>"

AS_PRINTED = """<? xml version="1.0" encoding="utf-8"? >
<annotation>
    <size>
        <width>1024</width>
        <height>728</height>
        <depth>3</depth>
    </size>
    <object>
        <name>TEXT</name>
        <bndbox>
            <xmin>80</xmin>
            <xmax>238</xmax>
            <ymin>102</ymin>
            <ymax>130</ymax>
        </bndbox>
    </object>
    <object>
        <name>Another TEXT</name>
        <bndbox>
            <xmin>81</xmin>
            <xmax>300</xmax>
            <ymin>150</ymin>
            <ymax>180</ymax>
        </bndbox>
    </object>
</annotation>
"""


def read(body: str, options: ReadOptions | None = None) -> VocPage:
    return read_voc(f"<annotation>{body}</annotation>".encode(), width_px=WIDTH, height_px=HEIGHT, options=options)


def codes(page: VocPage) -> list[str]:
    return [finding.code for finding in page.findings]


def test_the_sample_of_pai_as_it_is_printed() -> None:
    page = read_voc(AS_PRINTED.encode(), width_px=1024, height_px=728)
    assert [box.text for box in page.boxes] == ["TEXT", "Another TEXT"]
    np.testing.assert_array_equal(page.boxes[0].quad, quad_from_box(80, 102, 238, 130))
    assert [(finding.severity, finding.code, finding.line) for finding in page.findings] == [("repaired", "BROKEN_DECLARATION", 1)]


CORNERS = [[10, 20], [110, 30], [109, 60], [9, 50]]
X_Y = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(CORNERS, 1))
X_Y_FROM_0 = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(CORNERS))


@pytest.mark.parametrize(
    "shape",
    [
        f"<polygon>{X_Y}</polygon>{BOX}",
        f"<polygon>{X_Y_FROM_0}</polygon>",
        "<polygon><point>10,20</point><point>110,30</point><point>109,60</point><point>9,50</point></polygon>",
        "<polygon>10,20;110,30;109,60;9,50</polygon>",
        f"<quad>{X_Y}</quad>{BOX}",
        f"<bndbox>{X_Y}</bndbox>",
        f"<bndbox><xmin>9</xmin><ymin>20</ymin><xmax>110</xmax><ymax>60</ymax>{X_Y_FROM_0}</bndbox>",
        X_Y + BOX,
    ],
)
def test_four_points_wherever_they_stand(shape: str) -> None:
    (box,) = read(f"<object><name>A</name>{shape}</object>").boxes
    np.testing.assert_array_equal(box.quad, CORNERS)
    assert box.outline is None


def test_the_most_exact_shape_wins() -> None:
    turned = "<robndbox><cx>200</cx><cy>100</cy><w>80</w><h>20</h><angle>0</angle></robndbox>"
    (box,) = read(f"<object><name>A</name>{BOX}<quad>{X_Y}</quad>{turned}</object>").boxes
    np.testing.assert_array_equal(box.quad, quad_from_box(160, 90, 240, 110))
    (box,) = read(f"<object><name>A</name>{BOX}<polygon>{X_Y}</polygon>{turned}</object>").boxes
    np.testing.assert_array_equal(box.quad, CORNERS)


def test_angles_that_can_be_no_radians_are_degrees() -> None:
    page = read("<object><name>A</name><robndbox><cx>200</cx><cy>100</cy><w>80</w><h>20</h><angle>90</angle></robndbox></object>")
    np.testing.assert_allclose(page.boxes[0].quad, [[210, 60], [210, 140], [190, 140], [190, 60]], atol=1e-9)
    assert codes(page) == ["ANGLE_IN_DEGREES"]


def test_a_box_with_an_angle_turns_about_its_middle() -> None:
    box = f"<bndbox><xmin>160</xmin><ymin>90</ymin><xmax>240</xmax><ymax>110</ymax><angle>{math.pi / 2}</angle></bndbox>"
    (read_box,) = read(f"<object><name>A</name>{box}</object>").boxes
    np.testing.assert_allclose(read_box.quad, [[210, 60], [210, 140], [190, 140], [190, 60]], atol=1e-9)


HOUSE = [[10, 20], [60, 5], [110, 20], [110, 60], [10, 60]]
HOUSE_XML = "<polygon>" + "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(HOUSE, 1)) + "</polygon>"


def test_polygons_keep_their_outline_through_a_rewrite() -> None:
    data = f"<annotation><object><name>A</name>{BOX}{HOUSE_XML}</object></annotation>".encode()
    (box,) = read_voc(data, width_px=WIDTH, height_px=HEIGHT).boxes
    assert box.outline is not None
    np.testing.assert_array_equal(box.outline, HOUSE)
    again = read_voc(write_voc([box], filename="a.jpg", width_px=WIDTH, height_px=HEIGHT), width_px=WIDTH, height_px=HEIGHT)
    assert again.boxes[0].outline is not None
    np.testing.assert_array_equal(again.boxes[0].outline, HOUSE)


def test_a_box_that_was_not_moved_keeps_the_polygon_of_the_file() -> None:
    data = f"<annotation><object><name>A</name>{BOX}{HOUSE_XML}</object></annotation>".encode()
    (box,) = read_voc(data, width_px=WIDTH, height_px=HEIGHT).boxes
    for quad, kept in ((box.quad, True), (box.quad + 3, False)):
        edited = type(box)(quad, "B")
        written = write_voc([edited], filename="a.jpg", width_px=WIDTH, height_px=HEIGHT, previous=data)
        assert (b"<x5>10</x5>" in written) == kept


@pytest.mark.parametrize("truth", ["1", "true", "yes", "True"])
def test_flags_in_every_spelling(truth: str) -> None:
    assert read(f"<object><name>A</name><difficult>{truth}</difficult>{BOX}</object>").boxes[0].unreadable
    page = read_voc(f'<annotation verified="{truth}"></annotation>'.encode(), width_px=WIDTH, height_px=HEIGHT)
    assert page.confirmed


def test_unknown_elements_are_named() -> None:
    page = read(f"<mood/><segmented>0</segmented><object><name>A</name><pose>Unspecified</pose><truncated>1</truncated>{BOX}</object>")
    assert page.unknown == ("mood", "truncated")


def test_exports_of_label_studio_are_warned_about() -> None:
    source = "<source><database>MyDatabase</database><annotation>COCO2017</annotation><image>flickr</image></source>"
    assert codes(read(source)) == ["LABEL_STUDIO_VOC"]


def test_one_based_pixels_are_shifted_when_asked() -> None:
    body = f"<object><name>A</name>{BOX}</object><object><name>B</name><polygon>{X_Y}</polygon></object>"
    upright, turned = read(body, ReadOptions(one_based=True)).boxes
    np.testing.assert_array_equal(upright.quad, quad_from_box(9, 19, 110, 50))
    np.testing.assert_array_equal(turned.quad, np.array(CORNERS) - 0.5)


def test_names_are_classes_when_asked() -> None:
    attribute = "<attributes><attribute><name>text</name><value>Kopi</value></attribute></attributes>"
    body = f"<object><name>price</name>{attribute}{BOX}</object><object><name>text</name>{BOX}</object>"
    page = read(body, ReadOptions(names_are_classes=True))
    assert [(box.text, box.unreadable, box.attributes) for box in page.boxes] == [
        ("Kopi", False, {"class": "price"}),
        ("", True, {"class": "text"}),
    ]
    assert codes(page) == []


@pytest.mark.parametrize(
    ("turned", "corners"), [(90, [[20, 470], [20, 370], [50, 370], [50, 470]]), (270, [[620, 10], [620, 110], [590, 110], [590, 10]])]
)
def test_labels_of_a_turned_image_are_turned_back_when_asked(turned: int, corners: list[list[float]]) -> None:
    body = f"<size><width>{HEIGHT}</width><height>{WIDTH}</height></size><object><name>A</name>{BOX}</object>"
    page = read(body, ReadOptions(turned=90 if turned == 90 else 270))
    np.testing.assert_array_equal(page.boxes[0].quad, corners)
    assert codes(page) == ["TURNED_BACK"]


@pytest.mark.parametrize("encoding", ["punycode", "unicode_escape", "rot13", "utf-32", "nonsense"])
def test_encodings_that_are_none_of_text_are_not_tried(encoding: str) -> None:
    data = f'<?xml version="1.0" encoding="{encoding}"?><annotation><object><name>a\\u0062</name>{BOX}</object></annotation>'.encode()
    page = read_voc(data, width_px=WIDTH, height_px=HEIGHT)
    assert page.boxes[0].text == "a\\u0062"
    assert codes(page) == ["WRONG_ENCODING"]
