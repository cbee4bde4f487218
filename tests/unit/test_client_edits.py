"""From a wanted page to operations; the fold here is the smallest that can tell whether they are right."""

from hypothesis import given
from hypothesis import strategies as st

from inkwright.common.v1.geometry_pb2 import Point, Quad
from inkwright.labeling.v1 import page_pb2
from libs.client.edits import WantedBox, edits, wanted_from_page

Box = page_pb2.Box

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
corners = st.tuples(st.integers(0, 500), st.integers(0, 500))


def square(x: float, y: float) -> list[tuple[float, float]]:
    return [(x, y), (x + 40, y), (x + 40, y + 12), (x, y + 12)]


def quad(points: list[tuple[float, float]]) -> Quad:
    return Quad(points=[Point(x=x, y=y) for x, y in points])


@st.composite
def pages(draw: st.DrawFn) -> page_pb2.Page:
    ids = draw(st.lists(st.sampled_from([f"b{n}" for n in range(6)]), unique=True))
    sources = st.sampled_from([Box.HUMAN, Box.IMPORTED, Box.SUGGESTED])
    boxes = [Box(box_id=box_id, quad=quad(square(*draw(corners))), text=draw(texts), source=draw(sources)) for box_id in ids]
    return page_pb2.Page(name="projects/p/datasets/d/pages/i", boxes=boxes)


@st.composite
def wanted_pages(draw: st.DrawFn) -> list[WantedBox]:
    ids = draw(st.lists(st.sampled_from([f"b{n}" for n in range(8)]), unique=True))
    new = st.builds(WantedBox, label=texts, pos=corners.map(lambda corner: square(*corner)), unreadable=st.booleans())
    return [draw(new).model_copy(update={"box_id": box_id}) for box_id in ids]


def fold(page: page_pb2.Page, operations: list[page_pb2.Operation]) -> list[Box]:
    boxes = {box.box_id: Box.FromString(box.SerializeToString()) for box in page.boxes}
    for operation in operations:
        match operation.WhichOneof("kind"):
            case "create_box":
                boxes[operation.create_box.box.box_id] = operation.create_box.box
            case "delete_box":
                del boxes[operation.delete_box.box_id]
            case "move_box":
                boxes[operation.move_box.box_id].quad.CopyFrom(operation.move_box.quad)
            case "retype_box":
                boxes[operation.retype_box.box_id].text = operation.retype_box.text
                boxes[operation.retype_box.box_id].source = Box.HUMAN
            case "accept_box":
                boxes[operation.accept_box.box_id].source = Box.ACCEPTED
            case "mark_box":
                boxes[operation.mark_box.box_id].unreadable = operation.mark_box.unreadable
            case "reorder_boxes":
                first = list(operation.reorder_boxes.box_ids)
                boxes = {box_id: boxes[box_id] for box_id in [*first, *(b for b in boxes if b not in first)]}
    return list(boxes.values())


@given(page=pages(), wanted=wanted_pages())
def test_the_page_becomes_what_is_wanted(page: page_pb2.Page, wanted: list[WantedBox]) -> None:
    boxes = fold(page, edits(page, wanted))
    assert [(box.box_id, box.text, box.unreadable) for box in boxes] == [(box.box_id, box.label, box.unreadable) for box in wanted]
    assert [[(point.x, point.y) for point in box.quad.points] for box in boxes] == [list(box.pos) for box in wanted]
    assert all(box.source != Box.SUGGESTED for box in boxes)


@given(page=pages())
def test_saving_what_is_there_only_accepts(page: page_pb2.Page) -> None:
    kinds = [operation.WhichOneof("kind") for operation in edits(page, wanted_from_page(page))]
    assert kinds == ["accept_box"] * sum(box.source == Box.SUGGESTED for box in page.boxes)


def test_a_box_without_id_gets_one_of_its_own() -> None:
    operations = edits(page_pb2.Page(), [WantedBox(label="a", pos=square(1, 2)), WantedBox(label="b", pos=square(3, 4))])
    ids = [operation.create_box.box.box_id for operation in operations]
    assert len(set(ids)) == 2
    assert all(ids)
