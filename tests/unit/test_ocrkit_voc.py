"""Label files: what is read from the wild, what is refused, what is written back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ocrkit.geometry import quad_from_box, quad_rotated
from libs.ocrkit.labels.voc import LabelUnreadable, TextBox, VocPage, read_voc, write_voc
from libs.runtime.errors import InvalidInput

WIDTH, HEIGHT = 640, 480
BOX = "<bndbox><xmin>10</xmin><xmax>110</xmax><ymin>20</ymin><ymax>50</ymax></bndbox>"


def read(body: str, *, declaration: str = "", encoding: str = "utf-8") -> VocPage:
    return read_voc((declaration + f"<annotation>{body}</annotation>").encode(encoding), width_px=WIDTH, height_px=HEIGHT)


def one(body: str) -> TextBox:
    (box,) = read(f"<object>{body}</object>").boxes
    return box


def codes(page: VocPage) -> list[str]:
    return [finding.code for finding in page.findings]


def written(boxes: list[TextBox], previous: bytes | None = None) -> bytes:
    return write_voc(boxes, filename="a.jpg", width_px=WIDTH, height_px=HEIGHT, previous=previous)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=20).map(
    str.strip
)
COORDINATES = st.integers(0, 20_000).map(lambda hundredths: hundredths / 100)


@st.composite
def text_boxes(draw: st.DrawFn) -> TextBox:
    x, y, width, height = draw(COORDINATES), draw(COORDINATES), 2 + draw(COORDINATES), 2 + draw(COORDINATES)
    angle = draw(st.sampled_from([0.0, 0.1, -0.2]))
    quad = quad_from_box(x, y, x + width, y + height)
    if angle:
        quad = np.clip(quad_rotated(200, 200, width, height, angle), 0, 400)
    text = draw(TEXTS)
    unreadable = draw(st.booleans()) or not text.strip("*") or text == "###"
    attributes = draw(st.dictionaries(st.sampled_from(["box_id", "score", "source", "colour"]), TEXTS))
    return TextBox(quad, text or "###", unreadable, attributes)


@given(st.lists(text_boxes(), max_size=6))
def test_what_is_written_is_read_again(boxes: list[TextBox]) -> None:
    data = written(boxes)
    page = read_voc(data, width_px=WIDTH, height_px=HEIGHT)
    assert [finding for finding in page.findings if finding.severity != "warning"] == []
    assert len(page.boxes) == len(boxes)
    for box, again in zip(boxes, page.boxes, strict=True):
        np.testing.assert_allclose(again.quad, box.quad, atol=0.011)
        assert (again.text, again.unreadable, dict(again.attributes)) == (box.text, box.unreadable, dict(box.attributes))
    assert written(list(page.boxes), data) == data


def test_coordinates_are_never_read_by_position() -> None:
    np.testing.assert_array_equal(one(f"<name>A</name>{BOX}").quad, quad_from_box(10, 20, 110, 50))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<name> RM 1.00 </name>", "RM 1.00"),
        ("<name>a  b</name>", "a  b"),
        ("<name>text</name><text>TOTAL</text>", "TOTAL"),
        ("<name>text</name><transcription>x &amp; y</transcription>", "x & y"),
        ("<name>word</name><attributes><attribute><name>text</name><value>Kopi</value></attribute></attributes>", "Kopi"),
        ("<name>first\n second</name>", "first second"),
    ],
)
def test_text_is_found_where_programs_put_it(body: str, text: str) -> None:
    box = one(body + BOX)
    assert (box.text, box.unreadable) == (text, False)


@pytest.mark.parametrize("body", ["<name>###</name>", "<name>***</name>", "<name/>", "", "<name>A</name><difficult>1</difficult>"])
def test_unreadable_text_is_kept_as_such(body: str) -> None:
    assert one(body + BOX).unreadable


@pytest.mark.parametrize(
    "shape",
    [
        "<polygon><x1>10</x1><y1>20</y1><x2>110</x2><y2>30</y2><x3>109</x3><y3>60</y3><x4>9</x4><y4>50</y4></polygon>",
        "<polygon><pt><x>10</x><y>20</y></pt><pt><x>110</x><y>30</y></pt><pt><x>109</x><y>60</y></pt><pt><x>9</x><y>50</y></pt></polygon>",
        "<points>10,20;110,30;109,60;9,50</points>",
    ],
)
def test_polygons_of_all_spellings_are_quads(shape: str) -> None:
    box = one(f"<name>A</name>{BOX}{shape}")
    np.testing.assert_array_equal(box.quad, [[10, 20], [110, 30], [109, 60], [9, 50]])


def test_turned_boxes_turn_clockwise() -> None:
    shape = f"<robndbox><cx>200</cx><cy>100</cy><w>80</w><h>20</h><angle>{math.pi / 2}</angle></robndbox>"
    np.testing.assert_allclose(one(f"<name>A</name>{shape}").quad, [[210, 60], [210, 140], [190, 140], [190, 60]], atol=1e-9)


def shape_of(points: list[tuple[float, float]]) -> str:
    inner = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(points, 1))
    return f"<object><name>A</name><polygon>{inner}</polygon></object>"


def test_a_counter_clockwise_polygon_is_turned_round() -> None:
    page = read(shape_of([(10, 20), (9, 50), (109, 60), (110, 30)]))
    np.testing.assert_array_equal(page.boxes[0].quad, [[10, 20], [110, 30], [109, 60], [9, 50]])
    assert codes(page) == ["COUNTER_CLOCKWISE"]


def test_other_polygons_become_the_rectangle_around_them() -> None:
    page = read(shape_of([(10, 20), (60, 20), (110, 20), (110, 60), (10, 60)]) + shape_of([(10, 20), (110, 60), (110, 20), (10, 60)]))
    for box in page.boxes:
        np.testing.assert_allclose(box.quad, quad_from_box(10, 20, 110, 60), atol=1e-3)
    assert codes(page) == ["POLYGON_REDUCED", "POLYGON_CROSSED"]


def boxed(xmin: float, ymin: float, xmax: float, ymax: float) -> str:
    return f"<object><name>A</name><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"


def test_a_box_outside_the_image_is_clipped_and_reported() -> None:
    page = read(boxed(-5, 10, 100, 40))
    np.testing.assert_array_equal(page.boxes[0].quad, quad_from_box(0, 10, 100, 40))
    assert [(finding.severity, finding.code) for finding in page.findings] == [("repaired", "CLIPPED")]


def test_what_has_no_area_is_skipped_and_reported_by_line() -> None:
    page = read("\n" + boxed(700, 10, 800, 40) + "\n" + boxed(10, 10, 10, 40) + "\n" + boxed(10, 10, 20, 40))
    assert len(page.boxes) == 1
    assert [(finding.severity, finding.code, finding.line) for finding in page.findings] == [
        ("skipped", "OUTSIDE_IMAGE", 2),
        ("skipped", "NO_AREA", 3),
    ]


def test_swapped_bounds_are_repaired() -> None:
    page = read(boxed(100, 40, 10, 20))
    np.testing.assert_array_equal(page.boxes[0].quad, quad_from_box(10, 20, 100, 40))
    assert codes(page) == ["SWAPPED_BOUNDS"]


@pytest.mark.parametrize(
    "body", ["", "<bndbox><xmin>1</xmin></bndbox>", BOX.replace("110", "nan"), BOX.replace("110", "many"), BOX.replace("110", "1e99")]
)
def test_an_object_without_a_shape_is_skipped_and_the_next_is_read(body: str) -> None:
    page = read(f"<object><name>A</name>{body}</object>" + boxed(10, 10, 20, 40))
    assert len(page.boxes) == 1
    assert codes(page) == ["NO_SHAPE"]


def test_a_page_without_text_is_labelled() -> None:
    assert read("") == VocPage((), ())


def test_size_and_class_names_are_wondered_about() -> None:
    assert codes(read("<size><width>480</width><height>640</height></size>")) == ["SIZE_TURNED"]
    assert codes(read("<size><width>48</width><height>64</height></size>")) == ["SIZE_DIFFERS"]
    assert codes(read(f"<object><name>text</name>{BOX}</object>")) == ["NAME_IS_CLASS"]


@pytest.mark.parametrize(
    ("declaration", "encoding", "expected"),
    [
        ('<?xml version="1.0" encoding="utf-8"?>\n', "utf-8-sig", []),
        ('<?xml version="1.0" encoding="gb2312"?>', "gb18030", []),
        ('<?xml version="1.0" encoding="UTF-16"?>', "utf-16", []),
        ("", "utf-16-le", []),
        ('<?xml version="1.0" encoding="utf-8"?>', "gb18030", ["WRONG_ENCODING"]),
        ('<? xml version="1.0" encoding="utf-8"? >\n', "utf-8", ["BROKEN_DECLARATION"]),
    ],
)
def test_encodings_and_declarations_of_the_wild(declaration: str, encoding: str, expected: list[str]) -> None:
    page = read(f"<object><name>理财顾问</name>{BOX}</object>", declaration=declaration, encoding=encoding)
    assert [box.text for box in page.boxes] == ["理财顾问"]
    assert codes(page) == expected


ENTITIES = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
BILLION = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        b"\xff\xd8\xff\xe0 a picture",
        b"<annotation><object></annotation>",
        b"<html><body/></html>",
        f"{ENTITIES}<annotation><object><name>&e;</name></object></annotation>".encode(),
        f"{BILLION}<annotation><object><name>&b;</name></object></annotation>".encode(),
        ENTITIES.encode("utf-16"),
        b"<annotation>" + b"<a>" * 100 + b"</a>" * 100 + b"</annotation>",
        b"<annotation>" + b"<a>" * 5000,
        b"<annotation>" + b" " * (17 * 1024 * 1024) + b"</annotation>",
        b"<annotation><object><name>&#0;</name></object></annotation>",
    ],
)
def test_what_is_no_label_file_is_refused_whole(data: bytes) -> None:
    with pytest.raises(LabelUnreadable):
        read_voc(data, width_px=WIDTH, height_px=HEIGHT)


def test_the_line_of_a_mistake_is_named_behind_a_broken_declaration() -> None:
    with pytest.raises(LabelUnreadable, match="Line 3") as caught:
        read_voc(b'<? xml version="1.0"? >\n<annotation>\n<object></annotation>', width_px=WIDTH, height_px=HEIGHT)
    assert caught.value.metadata["line"] == "3"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_page_or_a_fault(data: bytes) -> None:
    for body in (data, b"<annotation><object>" + data + b"</object></annotation>"):
        try:
            read_voc(body, width_px=WIDTH, height_px=HEIGHT)
        except LabelUnreadable as fault:
            assert fault.message  # noqa: PT017


PREVIOUS = f"""<annotation verified="yes">
  <folder>receipts</folder>
  <filename>old.jpg</filename>
  <source><database>shop</database></source>
  <!-- checked -->
  <object>
    <name>OLD</name><pose>Frontal</pose><type>robndbox</type>
    <ours shade="3">kept</ours>
    <attributes><attribute><name>box_id</name><value>b1</value></attribute>
      <attribute><name>hue</name><value>red</value></attribute></attributes>{BOX}
  </object>
  <object><name>GONE</name><bndbox><xmin>300</xmin><xmax>400</xmax><ymin>300</ymin><ymax>340</ymax></bndbox></object>
  <object><name>BY PLACE</name><mark/><bndbox><xmin>300</xmin><xmax>400</xmax><ymin>20</ymin><ymax>50</ymax></bndbox></object>
</annotation>""".encode()


def test_unknown_elements_survive_a_rewrite() -> None:
    boxes = [
        TextBox(quad_from_box(302, 21, 401, 52), "NEAR", attributes={"box_id": "b2"}),
        TextBox(quad_from_box(500, 400, 600, 440), "MOVED", attributes={"box_id": "b1"}),
    ]
    text = written(boxes, PREVIOUS).decode()
    near, moved = text[text.index("<object>") :].split("</object>")[:2]
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n<annotation verified="yes">')
    assert all(kept in text for kept in ("<folder>receipts</folder>", "<database>shop</database>", "<!-- checked -->"))
    assert "<filename>a.jpg</filename>" in text
    assert "<mark/>" in near
    assert '<ours shade="3">kept</ours>' in moved
    assert all(kept in moved for kept in ("<pose>Frontal</pose>", "<value>red</value>"))
    assert all(gone not in text for gone in ("OLD", "GONE", "BY PLACE", "robndbox", "old.jpg"))
    page = read_voc(text.encode(), width_px=WIDTH, height_px=HEIGHT)
    assert [box.text for box in page.boxes] == ["NEAR", "MOVED"]
    assert page.boxes[1].attributes == {"box_id": "b1", "hue": "red"}
    assert written(boxes, text.encode()).decode() == text


def test_a_previous_file_that_is_no_xml_is_replaced() -> None:
    boxes = [TextBox(quad_from_box(1, 2, 30, 40), "A")]
    assert written(boxes, b"<annotation><obj") == written(boxes)


def test_text_that_xml_cannot_carry_is_refused_by_box() -> None:
    with pytest.raises(InvalidInput, match="Box 2"):
        written([TextBox(quad_from_box(1, 2, 30, 40), "A"), TextBox(quad_from_box(1, 2, 30, 40), "A\x07B")])
