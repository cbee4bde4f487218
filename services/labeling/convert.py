"""Between the domain and the protos, in pairs."""

from typing import assert_never

from inkwright.common.v1 import geometry_pb2
from inkwright.dataset.v1 import dataset_pb2
from inkwright.inference.v1 import instance_service_pb2
from inkwright.labeling.v1 import labeling_service_pb2, page_pb2
from libs.runtime.errors import InvalidInput
from libs.runtime.names import IMAGE
from libs.runtime.times import to_timestamp
from services.labeling.boxes import (
    AcceptBox,
    Box,
    BoxInvalid,
    CreateBox,
    DeleteBox,
    Kind,
    MarkBox,
    MoveBox,
    Operation,
    Quad,
    ReorderBoxes,
    RetypeBox,
    Source,
    check_operation_id,
)
from services.labeling.domain import IndexedImage, LabelFile, Logged, Page, PageState, WantedPages
from services.labeling.fold import Content
from services.labeling.prelabel import Prelabel, SuggestedLine


def page_to_proto(page: Page, content: Content | None = None) -> page_pb2.Page:
    """The resource as callers see it, with boxes where the content is given."""
    return page_pb2.Page(
        name=page.name,
        image=page.image,
        key=page.key,
        width_px=page.width_px,
        height_px=page.height_px,
        state=page_pb2.Page.State.Value(page.state),
        boxes=[box_to_proto(box) for box in content.boxes] if content else [],
        sequence=page.sequence,
        submitted_sequence=page.submitted_sequence,
        return_note=page.return_note,
        num_suggestions=page.num_suggestions,
        num_boxes=page.num_boxes,
        etag=page.etag,
        update_time=to_timestamp(page.update_time),
        lowest_confidence=page.lowest_confidence,
        last_editor=page.last_editor,
    )


def wanted_from_proto(request: labeling_service_pb2.ListPagesRequest) -> WantedPages:
    """What of pages is asked for.

    Raises:
        InvalidInput: a state this server does not know, no confidence.
    """
    if request.state not in page_pb2.Page.State.values():
        raise InvalidInput(f"{request.state} is no state of a page.", state=request.state)
    state = PageState(page_pb2.Page.State.Name(request.state)) if request.state else None
    return WantedPages(state, request.editor, request.max_confidence if request.HasField("max_confidence") else None)


def quad_to_proto(quad: Quad) -> geometry_pb2.Quad:
    """Four points."""
    return geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in quad])


def quad_from_proto(quad: geometry_pb2.Quad, box_id: str) -> Quad:
    """Four points.

    Raises:
        BoxInvalid: another number of points.
    """
    if len(quad.points) != 4:
        raise BoxInvalid(f"Box {box_id} has {len(quad.points)} corners; it needs 4.", box_id=box_id, num_points=len(quad.points))
    a, b, c, d = ((point.x, point.y) for point in quad.points)
    return a, b, c, d


def box_to_proto(box: Box) -> page_pb2.Box:
    """Field by field."""
    return page_pb2.Box(
        box_id=box.box_id,
        quad=quad_to_proto(box.quad),
        text=box.text,
        unreadable=box.unreadable,
        source=page_pb2.Box.Source.Value(box.source),
        confidence=box.confidence,
        model=box.model,
    )


def box_from_proto(box: page_pb2.Box) -> Box:
    """Field by field; a source that is not given is HUMAN.

    Raises:
        BoxInvalid: no quad of four points, or a source this server does not know.
    """
    if box.source not in page_pb2.Box.Source.values():
        raise BoxInvalid(f"Box {box.box_id} has a source that is not known: {box.source}.", box_id=box.box_id, source=box.source)
    source = Source(page_pb2.Box.Source.Name(box.source)) if box.source else Source.HUMAN
    quad = quad_from_proto(box.quad, box.box_id)
    return Box(box.box_id, quad, box.text, box.unreadable, source, box.confidence, box.model)


def operation_to_proto(operation: Operation) -> page_pb2.Operation:
    """As its sender wrote it."""
    made = page_pb2.Operation(operation_id=operation.operation_id)
    match operation.kind:
        case CreateBox(box):
            made.create_box.box.CopyFrom(box_to_proto(box))
        case MoveBox(box_id, quad):
            made.move_box.box_id = box_id
            made.move_box.quad.CopyFrom(quad_to_proto(quad))
        case RetypeBox(box_id, text):
            made.retype_box.box_id, made.retype_box.text = box_id, text
        case DeleteBox(box_id):
            made.delete_box.box_id = box_id
        case MarkBox(box_id, unreadable):
            made.mark_box.box_id, made.mark_box.unreadable = box_id, unreadable
        case ReorderBoxes(box_ids):
            made.reorder_boxes.SetInParent()
            made.reorder_boxes.box_ids.extend(box_ids)
        case AcceptBox(box_id):
            made.accept_box.box_id = box_id
        case kind:
            assert_never(kind)
    return made


def operation_from_proto(operation: page_pb2.Operation) -> Operation:
    """As its sender wrote it.

    Raises:
        InvalidInput: a bad operation id, or no kind.
        BoxInvalid: a quad without four points; the metadata ``operation_id`` names the operation.
    """
    operation_id = check_operation_id(operation.operation_id)
    try:
        return Operation(operation_id, _kind_from_proto(operation))
    except BoxInvalid as fault:
        fault.metadata["operation_id"] = operation_id
        raise


def logged_to_proto(logged: Logged) -> page_pb2.Operation:
    """An operation with what the server added."""
    made = operation_to_proto(logged.operation)
    made.sequence, made.actor = logged.sequence, logged.actor
    stamp = to_timestamp(logged.create_time)
    if stamp is not None:
        made.create_time.CopyFrom(stamp)
    return made


def boxes_to_bytes(boxes: tuple[Box, ...]) -> bytes:
    """The form in which the store keeps boxes."""
    return page_pb2.Page(boxes=[box_to_proto(box) for box in boxes]).SerializeToString()


def boxes_from_bytes(data: bytes) -> tuple[Box, ...]:
    """What ``boxes_to_bytes`` wrote."""
    return tuple(box_from_proto(box) for box in page_pb2.Page.FromString(data).boxes)


def operation_to_bytes(operation: Operation) -> bytes:
    """The form in which the store keeps operations."""
    return operation_to_proto(operation).SerializeToString()


def operation_from_bytes(data: bytes) -> Operation:
    """What ``operation_to_bytes`` wrote."""
    return operation_from_proto(page_pb2.Operation.FromString(data))


def prelabel_to_proto(prelabel: Prelabel) -> page_pb2.Prelabel:
    """The resource as callers see it."""
    return page_pb2.Prelabel(
        name=prelabel.name,
        model=prelabel.model,
        state=page_pb2.Prelabel.State.Value(prelabel.state),
        error_message=prelabel.error_message,
        num_images=prelabel.num_images,
        num_done=prelabel.num_done,
        num_failed=prelabel.num_failed,
        num_boxes=prelabel.num_boxes,
        create_time=to_timestamp(prelabel.create_time),
        update_time=to_timestamp(prelabel.update_time),
    )


def image_from_proto(image: dataset_pb2.Image) -> IndexedImage:
    """What labeling needs of it."""
    return IndexedImage(
        image_id=IMAGE.parse(image.name)["image"],
        key=image.key,
        width_px=image.width_px,
        height_px=image.height_px,
        store_etag=image.store_etag,
        has_label_file=bool(image.label_key),
        is_usable=image.state == dataset_pb2.Image.USABLE,
    )


def file_from_proto(labels: dataset_pb2.ImageLabels) -> LabelFile:
    """What lies beside an image."""
    boxes = tuple(Box(box.box_id, quad_from_proto(box.quad, box.box_id), box.text, box.unreadable, Source.IMPORTED) for box in labels.boxes)
    readable = bool(labels.file_etag) and not any(finding.severity == dataset_pb2.Finding.REJECTED for finding in labels.findings)
    return LabelFile(labels.file_etag, readable, boxes)


def label_box_to_proto(box: Box) -> dataset_pb2.LabelBox:
    """As the dataset service writes it into a label file."""
    return dataset_pb2.LabelBox(box_id=box.box_id, quad=quad_to_proto(box.quad), text=box.text, unreadable=box.unreadable)


def line_from_proto(line: instance_service_pb2.TextLine) -> SuggestedLine:
    """What an instance read in one place."""
    return SuggestedLine(quad_from_proto(line.quad, ""), line.text, line.confidence)


def _kind_from_proto(operation: page_pb2.Operation) -> Kind:
    match operation.WhichOneof("kind"):
        case "create_box":
            return CreateBox(box_from_proto(operation.create_box.box))
        case "move_box":
            move = operation.move_box
            return MoveBox(move.box_id, quad_from_proto(move.quad, move.box_id))
        case "retype_box":
            return RetypeBox(operation.retype_box.box_id, operation.retype_box.text)
        case "delete_box":
            return DeleteBox(operation.delete_box.box_id)
        case "mark_box":
            return MarkBox(operation.mark_box.box_id, operation.mark_box.unreadable)
        case "reorder_boxes":
            return ReorderBoxes(tuple(operation.reorder_boxes.box_ids))
        case "accept_box":
            return AcceptBox(operation.accept_box.box_id)
        case _:
            message = f"Operation {operation.operation_id} says nothing to do; set one of its kinds."
            raise InvalidInput(message, operation_id=operation.operation_id)
