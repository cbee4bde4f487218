"""Pascal VOC XML for text: a tolerant reader; the canonical writer stands beside it in ``voc_writer``.

The reader takes what labelling programs really write (see ``voc_elements`` for the geometry, ``xml_text`` for encodings) and tells of
each thing it had to change. It never shifts coordinates by one unless it is asked to: pixel edges are counted from 0.
"""

from dataclasses import dataclass

from lxml import etree

from libs.ocrkit.labels.page import Finding, LabelUnreadable, ReadOptions, Severity, TextBox
from libs.ocrkit.labels.page_builder import MAX_BOXES, PageBuilder
from libs.ocrkit.labels.shapes import Shape, turn_back
from libs.ocrkit.labels.texts import TEXT_ATTRIBUTES
from libs.ocrkit.labels.voc_elements import (
    SHAPE_TAGS,
    TEXT_TAGS,
    child,
    child_text,
    line_of,
    local_name,
    number,
    read_attributes,
    read_shape,
)
from libs.ocrkit.labels.voc_writer import write_voc
from libs.ocrkit.labels.xml_text import parse_xml

__all__ = ["Finding", "LabelUnreadable", "Severity", "TextBox", "VocPage", "read_voc", "write_voc"]

_CLASS_NAMES = frozenset({"text", "texts", "word", "words", "line", "lines", "textline", "文本", "文字"})
_PAGE_TAGS = frozenset({"object", "folder", "filename", "path", "source", "size", "segmented", ""})
_OBJECT_TAGS = SHAPE_TAGS | {"name", "difficult", "attributes", *TEXT_TAGS, ""}
_PLAIN_VALUES = {"pose": "unspecified", "truncated": "0", "occluded": "0"}
"""What labelling programs write into these elements where nobody said anything."""


@dataclass(frozen=True)
class VocPage:
    """The text boxes of one file, in its order, and what was noticed. No box at all is a page labelled as holding no text.

    Args:
        boxes: in the order of the file.
        findings: likewise.
        confirmed: the file says that somebody has verified it, as labelImg writes it.
        unknown: names of the elements that mean nothing to us; ``write_voc`` keeps them.
    """

    boxes: tuple[TextBox, ...]
    findings: tuple[Finding, ...]
    confirmed: bool = False
    unknown: tuple[str, ...] = ()


def read_voc(data: bytes, *, width_px: int, height_px: int, options: ReadOptions | None = None) -> VocPage:
    """Read one label file.

    Args:
        data: the file.
        width_px: width of the upright image; it, not ``<size>``, is right.
        height_px: height of the upright image.
        options: what a person asked for.

    Raises:
        LabelUnreadable: it is no XML, or no VOC annotation; the message names the line.
    """
    options = options or ReadOptions()
    root, findings = parse_xml(data)
    if local_name(root).lower() != "annotation":
        raise LabelUnreadable(
            f"Line {line_of(root)}: the XML begins with <{local_name(root)}>, a VOC label file with <annotation>.", line=line_of(root)
        )
    builder = PageBuilder(width_px, height_px, options)
    builder.note(*findings)
    turned = _check_size(root, builder, options)
    _check_program(root, builder)
    entries = [entry for entry in root.iter() if local_name(entry) == "object"]
    if len(entries) > MAX_BOXES:
        raise LabelUnreadable(f"The file has {len(entries)} objects, more than {MAX_BOXES}.", num_objects=len(entries))
    for entry in entries:
        _read_object(entry, builder, options, turned)
    boxes = tuple(builder.boxes)
    if boxes and not options.names_are_classes and all(box.text.casefold() in _CLASS_NAMES for box in boxes):
        message = "Every text is a class name such as 'text': this file may hold no transcriptions."
        builder.note(Finding("warning", "NAME_IS_CLASS", message))
    verified = _is_true(str(root.get("verified") or ""))
    return VocPage(boxes, builder.findings, verified, _unknown(root, entries))


def _check_size(root: etree._Element, builder: PageBuilder, options: ReadOptions) -> int:
    """Compare ``<size>`` with the image.

    Returns:
        Degrees by which the image has to be turned to be the one of the file.
    """
    size = child(root, "size")
    said_width, said_height = number(size, "width"), number(size, "height")
    width_px, height_px = builder.width_px, builder.height_px
    if size is None or not said_width or not said_height or (said_width == width_px and said_height == height_px):
        return 0
    if said_width == height_px and said_height == width_px:
        if options.turned:
            message = f"The file was written for the image turned by {options.turned} degrees; its boxes were turned back."
            builder.note(Finding("repaired", "TURNED_BACK", message, line_of(size)))
            return options.turned
        message = "The file was written for the image turned by 90 degrees; check its boxes."
        builder.note(Finding("warning", "SIZE_TURNED", message, line_of(size)))
        return 0
    message = f"The file speaks of {said_width:g} x {said_height:g} pixels, the image has {width_px} x {height_px}; check its boxes."
    builder.note(Finding("warning", "SIZE_DIFFERS", message, line_of(size)))
    return 0


def _check_program(root: etree._Element, builder: PageBuilder) -> None:
    source = child(root, "source")
    if source is not None and child_text(source, "database") == "MyDatabase" and child_text(source, "annotation") == "COCO2017":
        message = "Label Studio wrote this file; its VOC export loses polygons and shifts turned boxes. Export its JSON and convert that."
        builder.note(Finding("warning", "LABEL_STUDIO_VOC", message, line_of(source)))


def _read_object(entry: etree._Element, builder: PageBuilder, options: ReadOptions, turned: int) -> None:
    line = line_of(entry)
    shape, findings = read_shape(entry, one_based=options.one_based)
    builder.note(*findings)
    if shape is not None and turned:
        width_px, height_px, outline = builder.width_px, builder.height_px, shape.outline
        if outline is not None:
            outline = turn_back(outline, turned, width_px, height_px)
        shape = Shape(turn_back(shape.quad, turned, width_px, height_px), outline)
    attributes = read_attributes(entry)
    name = (child_text(entry, "name") or "").strip()
    said = [attributes[key] for key in TEXT_ATTRIBUTES if attributes.get(key, "").strip()]
    said += [value for tag in TEXT_TAGS if (value := child_text(entry, tag)) and value.strip()]
    kept = {key: value for key, value in attributes.items() if key not in TEXT_ATTRIBUTES}
    if options.names_are_classes:
        kept.setdefault("class", name)
        name = ""
    elif said and name and said[0].strip() != name and name.casefold() not in _CLASS_NAMES:
        message = f"Line {line}: the name and the text of the object differ; the text was taken."
        builder.note(Finding("warning", "TEXT_DIFFERS", message, line))
    unreadable = _is_true(child_text(entry, "difficult"))
    builder.add(shape, said[0] if said else name, unreadable=unreadable, attributes=kept, line=line)


def _unknown(root: etree._Element, entries: list[etree._Element]) -> tuple[str, ...]:
    names = {name for part in root if (name := local_name(part)) not in _PAGE_TAGS}
    for entry in entries:
        for part in entry:
            name, value = local_name(part), (part.text or "").strip().lower()
            if name not in _OBJECT_TAGS and _PLAIN_VALUES.get(name) != value and not (name == "type" and value in SHAPE_TAGS):
                names.add(name)
    return tuple(sorted(names))


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in {"1", "true", "yes"}
