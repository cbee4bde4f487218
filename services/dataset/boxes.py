"""Boxes of label files as messages, and as bytes."""

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2
from libs.runtime.errors import InvalidInput
from services.dataset.image import LabelBox, Quad


def quad_to_proto(quad: Quad) -> geometry_pb2.Quad:
    """Four points."""
    return geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in quad])


def quad_from_proto(quad: geometry_pb2.Quad) -> Quad:
    """Four points.

    Raises:
        InvalidInput: another number of points.
    """
    if len(quad.points) != 4:
        raise InvalidInput(f"A quad has 4 points, this one has {len(quad.points)}.", num_points=len(quad.points))
    a, b, c, d = ((point.x, point.y) for point in quad.points)
    return a, b, c, d


def box_to_proto(box: LabelBox) -> dataset_pb2.LabelBox:
    """Field by field."""
    return dataset_pb2.LabelBox(box_id=box.box_id, quad=quad_to_proto(box.quad), text=box.text, unreadable=box.unreadable)


def box_from_proto(box: dataset_pb2.LabelBox) -> LabelBox:
    """Field by field.

    Raises:
        InvalidInput: no quad of four points.
    """
    return LabelBox(box.box_id, quad_from_proto(box.quad), box.text, box.unreadable)


def boxes_to_bytes(boxes: tuple[LabelBox, ...]) -> bytes:
    """The form in which the store keeps boxes."""
    return dataset_pb2.ImageLabels(boxes=[box_to_proto(box) for box in boxes]).SerializeToString()


def boxes_from_bytes(data: bytes) -> tuple[LabelBox, ...]:
    """What ``boxes_to_bytes`` wrote."""
    return tuple(box_from_proto(box) for box in dataset_pb2.ImageLabels.FromString(data).boxes)
