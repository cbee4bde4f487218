"""Pascal VOC: ``a.xml`` beside ``a.jpg``."""

from collections.abc import Iterator

from libs.ocrkit.labels.format import LabelFile
from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.page import Finding, Page, Row
from libs.ocrkit.labels.source import Source, folder_of, split_suffix
from libs.ocrkit.labels.target import Target
from libs.ocrkit.labels.voc import read_voc, write_voc
from libs.ocrkit.labels.voc_elements import child, child_text, number
from libs.ocrkit.labels.xml_text import MAX_BYTES, parse_xml


class Voc:
    """VOC XML, one file an image."""

    key = "voc"
    title = "Pascal VOC XML as PAI, labelImg, roLabelImg, X-AnyLabeling, CVAT and ModelArts write it: `a.xml` beside `a.jpg`"
    holds = Holds(shape="polygon", unreadable="flag", attributes=None, confirmed=True, elements=True)

    def claims(self, name: str, head: str) -> bool:
        """Every XML file."""
        return split_suffix(name)[1] == ".xml"

    def read(self, file: LabelFile) -> Iterator[Row]:
        """Read the labels of the image of the same stem, or else the one that ``<filename>`` names."""
        with file.source.open(file.name) as stream:
            data = stream.read(MAX_BYTES + 1)
        names = file.images.of_stem(split_suffix(file.name)[0])
        if names:
            found = [file.images.measured(name) for name in names]
        else:
            root, _ = parse_xml(data)
            said = (child_text(root, "filename") or "").strip()
            if not said:
                yield file.failed("IMAGE_MISSING", "no image of this name lies beside it; put the image there.")
                return
            size = child(root, "size")
            width, height = number(size, "width"), number(size, "height")
            found = [file.images.named(said, folder_of(file.name), said_size=(width, height) if width and height else None)]
        for image in found:
            if not image.is_usable:
                yield file.unusable(image)
                continue
            page = read_voc(data, width_px=image.width_px, height_px=image.height_px, options=file.options)
            findings = (*image.findings, *page.findings)
            if len(found) > 1:
                message = f"{' and '.join(names)} share this label file; give each image a name of its own."
                findings = (*findings, Finding("warning", "LABEL_SHARED", message))
            read = Page(image.name, image.width_px, image.height_px, page.boxes, page.confirmed, data, page.unknown)
            yield Row(image.name, file.name, read, findings)

    def writer(self, target: Target) -> "VocWriter":
        """Begin to write."""
        return VocWriter(target)


class VocWriter:
    """Writes an XML file beside each image."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def add(self, page: Page, source: Source) -> None:
        """Write a page's file; elements of the file it was read from are kept."""
        data = write_voc(
            page.boxes,
            filename=page.name.rpartition("/")[2],
            width_px=page.width_px,
            height_px=page.height_px,
            previous=page.voc,
            confirmed=page.confirmed,
        )
        self._target.write_new(f"{split_suffix(page.name)[0]}.xml", data)

    def close(self) -> None:
        """Nothing is left to write."""
