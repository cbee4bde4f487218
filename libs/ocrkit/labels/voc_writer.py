"""The canonical VOC XML of this product.

``<name>`` is the transcription (as PAI reads it), ``<bndbox>`` is always there, ``<polygon>`` where the box is not upright,
``<attributes>`` where the box has any (then with the text among them). UTF-8 without a byte order mark; equal input gives equal bytes.
"""

import copy
import math
from collections.abc import Sequence

import numpy as np
from lxml import etree

from libs.ocrkit.geometry import SAME_PX, is_upright_box, quad_bounds, quad_iou
from libs.ocrkit.labels.page import LabelUnreadable, TextBox
from libs.ocrkit.labels.shapes import Shape, fit_shape
from libs.ocrkit.labels.texts import TEXT_ATTRIBUTES, UNREADABLE
from libs.ocrkit.labels.voc_elements import (
    SHAPE_TAGS,
    TEXT_TAGS,
    child,
    local_name,
    read_attributes,
    read_shape,
)
from libs.ocrkit.labels.xml_text import parse_xml
from libs.runtime.errors import InvalidInput

_OWN_ATTRIBUTES = frozenset({*TEXT_ATTRIBUTES, "score", "source", "box_id"})
_OWN_TAGS = SHAPE_TAGS | {"name", "difficult", "attributes", *TEXT_TAGS}
_SAME_OBJECT_IOU = 0.5


def write_voc(
    boxes: Sequence[TextBox],
    *,
    filename: str,
    width_px: int,
    height_px: int,
    previous: bytes | None = None,
    confirmed: bool | None = None,
) -> bytes:
    """Write the label file of an image.

    Args:
        boxes: in the order they shall have.
        filename: of the image, without its folder.
        width_px: width of the upright image.
        height_px: height of the upright image.
        previous: the file that is replaced. Its elements that mean nothing to us are kept: those of the page, and those of each
            object that is found again by ``box_id`` or else by its place. A box without an outline that stands where it stood
            keeps the polygon it had. A file that cannot be read keeps nothing.
        confirmed: whether somebody has verified the page; None leaves what the replaced file says.

    Raises:
        InvalidInput: a text or attribute holds control characters, which XML cannot carry; the message names the box.
    """
    root, replaced = _previous(previous)
    _set_page(root, filename, width_px, height_px)
    if confirmed is not None:
        root.attrib.pop("verified", "")
        if confirmed:
            root.set("verified", "yes")
    partners = _partners(boxes, replaced)
    for index, (box, partner) in enumerate(zip(boxes, partners, strict=True)):
        try:
            root.append(_object(box, partner, width_px, height_px))
        except ValueError as error:
            message = f"Box {index + 1}: its text holds control characters, which a label file cannot carry; remove them."
            raise InvalidInput(message, box=index + 1) from error
    etree.indent(root, "  ")
    body = etree.tostring(root, encoding="utf-8", xml_declaration=False)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + body + b"\n"


def _previous(previous: bytes | None) -> tuple[etree._Element, list[etree._Element]]:
    if previous is not None:
        try:
            root, _ = parse_xml(previous)
        except LabelUnreadable:
            return etree.Element("annotation"), []
        if local_name(root) == "annotation":
            objects = [entry for entry in root if local_name(entry) == "object"]
            for entry in objects:
                root.remove(entry)
            root.tail = None
            return root, objects
    return etree.Element("annotation"), []


def _set_page(root: etree._Element, filename: str, width_px: int, height_px: int) -> None:
    name = child(root, "filename")
    if name is None:
        name = etree.Element("filename")
        folder = child(root, "folder")
        root.insert(0 if folder is None else root.index(folder) + 1, name)
    name.text = filename
    size = child(root, "size")
    if size is None:
        size = etree.Element("size")
        root.insert(len(root), size)
    for tag, value in (("width", width_px), ("height", height_px), ("depth", 3)):
        found = child(size, tag)
        if found is None:
            found = etree.SubElement(size, tag)
        elif tag == "depth":
            continue
        found.text = str(value)


def _partners(boxes: Sequence[TextBox], replaced: list[etree._Element]) -> list[etree._Element | None]:
    """For each box the object of the replaced file that it was: of the same id, else of the same place, one to one."""
    partners: list[etree._Element | None] = [None] * len(boxes)
    by_id = {box_id: entry for entry in replaced if (box_id := read_attributes(entry).get("box_id"))}
    for index, box in enumerate(boxes):
        partners[index] = by_id.pop(box.attributes.get("box_id", ""), None)
    taken = {id(entry) for entry in partners if entry is not None}
    free = [(entry, shape.quad) for entry in replaced if id(entry) not in taken and (shape := read_shape(entry)[0]) is not None]
    places = np.array([quad_bounds(quad) for _, quad in free]).reshape(-1, 4)
    candidates: list[tuple[float, int, int]] = []
    for index, box in enumerate(boxes):
        if partners[index] is None:
            xmin, ymin, xmax, ymax = quad_bounds(box.quad)
            near = (places[:, 0] < xmax) & (places[:, 2] > xmin) & (places[:, 1] < ymax) & (places[:, 3] > ymin)
            candidates += [(quad_iou(box.quad, free[place][1]), index, place) for place in np.flatnonzero(near).tolist()]
    candidates = [candidate for candidate in candidates if candidate[0] >= _SAME_OBJECT_IOU]
    used: set[int] = set()
    for _, index, place in sorted(candidates, key=lambda candidate: (-candidate[0], candidate[1], candidate[2])):
        if partners[index] is None and place not in used:
            used.add(place)
            partners[index] = free[place][0]
    return partners


def _object(box: TextBox, partner: etree._Element | None, width_px: int, height_px: int) -> etree._Element:
    entry = etree.Element("object")
    kept: list[etree._Element] = []
    if partner is not None:
        entry.attrib.update(partner.attrib)
        kept = [copy.deepcopy(part) for part in partner if local_name(part) not in _OWN_TAGS]
        # roLabelImg's <type> names the shape, which is written anew.
        kept = [part for part in kept if not (local_name(part) == "type" and (part.text or "").strip() in SHAPE_TAGS)]
    text = box.text.strip()
    _leaf(entry, "name", text or UNREADABLE)
    entry.extend(part for part in kept if local_name(part) in ("pose", "truncated"))
    _leaf(entry, "difficult", "1" if box.unreadable else "0")
    _shape(entry, _shape_to_write(box, partner, width_px, height_px))
    attributes = dict(box.attributes)
    if partner is not None:
        attributes |= {name: value for name, value in read_attributes(partner).items() if name not in _OWN_ATTRIBUTES | attributes.keys()}
    if attributes:
        _attributes(entry, {"text": text} | attributes if text else attributes)
    entry.extend(part for part in kept if local_name(part) not in ("pose", "truncated"))
    return entry


def _shape_to_write(box: TextBox, partner: etree._Element | None, width_px: int, height_px: int) -> Shape:
    if box.outline is None and partner is not None and (before := read_shape(partner)[0]) is not None:
        fitted, _ = fit_shape(before, width_px, height_px)
        if fitted is not None and np.abs(fitted.quad - box.quad).max() <= SAME_PX:
            return Shape(box.quad, fitted.outline)
    return Shape(box.quad, box.outline)


def _shape(entry: etree._Element, shape: Shape) -> None:
    outline = np.round(shape.quad if shape.outline is None else shape.outline, 2)
    upright = shape.outline is None and is_upright_box(outline)
    xmin, ymin, xmax, ymax = quad_bounds(outline)
    if not upright:
        # The polygon is exact; many programs read only whole numbers here.
        xmin, ymin, xmax, ymax = math.floor(xmin), math.floor(ymin), math.ceil(xmax), math.ceil(ymax)
    bounds = etree.SubElement(entry, "bndbox")
    for tag, value in (("xmin", xmin), ("ymin", ymin), ("xmax", xmax), ("ymax", ymax)):
        _leaf(bounds, tag, _pixels(value))
    if not upright:
        polygon = etree.SubElement(entry, "polygon")
        for number, (x, y) in enumerate(outline.tolist(), start=1):
            _leaf(polygon, f"x{number}", _pixels(x))
            _leaf(polygon, f"y{number}", _pixels(y))


def _attributes(entry: etree._Element, attributes: dict[str, str]) -> None:
    listed = etree.SubElement(entry, "attributes")
    for name in sorted(attributes):
        attribute = etree.SubElement(listed, "attribute")
        _leaf(attribute, "name", name)
        _leaf(attribute, "value", attributes[name])


def _leaf(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(parent, tag).text = text


def _pixels(value: float) -> str:
    """At most two decimals, none where they are zero."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
