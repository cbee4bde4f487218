"""What every format of labels has in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from libs.ocrkit.labels.holding import Holds
from libs.ocrkit.labels.image_finder import FoundImage
from libs.ocrkit.labels.page import Finding, Page, ReadOptions, Row
from libs.ocrkit.labels.page_builder import PageBuilder
from libs.ocrkit.labels.source import Source
from libs.ocrkit.labels.target import Target


class Images(Protocol):
    """Finds the images that label files speak of: ``ImageFinder`` those of a source, others those of an index."""

    def named(self, said: str, base: str, *, said_size: tuple[float, float] | None = None, line: int | None = None) -> FoundImage:
        """The image of a name, as a label file in the folder ``base`` says it."""
        ...

    def of_stem(self, stem: str) -> list[str]:
        """Images whose name is this one with an extension."""
        ...

    def measured(self, name: str, *, line: int | None = None) -> FoundImage:
        """An image that ``of_stem`` gave, with its size."""
        ...


@dataclass(frozen=True)
class LabelFile:
    """A label file to be read, and what reading it takes.

    Args:
        name: of the file in the source.
        source: holds it.
        images: finds the images it speaks of.
        options: what a person asked for.
    """

    name: str
    source: Source
    images: Images
    options: ReadOptions

    def builder(self, image: FoundImage) -> PageBuilder:
        """To gather the boxes of an image that was found."""
        builder = PageBuilder(image.width_px, image.height_px, self.options)
        builder.note(*image.findings)
        return builder

    def row(self, image: FoundImage, builder: PageBuilder, *, confirmed: bool = False) -> Row:
        """The row of a page that was read."""
        page = Page(image.name, image.width_px, image.height_px, tuple(builder.boxes), confirmed)
        return Row(image.name, self.name, page, builder.findings)

    def unusable(self, image: FoundImage) -> Row:
        """The row of labels whose image cannot be used."""
        return Row(image.name, self.name, None, image.findings)

    def failed(self, code: str, message: str, line: int | None = None) -> Row:
        """The row of something that belongs to no image."""
        at = "" if line is None else f"Line {line}: "
        return Row(self.name, self.name, None, (Finding("failed", code, at + message, line),))


class Writer(Protocol):
    """Writes pages one after the other."""

    def add(self, page: Page, source: Source) -> None:
        """Write a page that was reduced to what the format holds.

        Args:
            page: the page.
            source: holds its image.

        Raises:
            Fault: this page cannot be written; others can.
        """
        ...

    def close(self) -> None:
        """Write what stands once for all pages."""
        ...


class Format(Protocol):
    """A format of labels."""

    @property
    def key(self) -> str:
        """What it is called on the command line."""
        ...

    @property
    def title(self) -> str:
        """What people call it, and its layout, in a line."""
        ...

    @property
    def holds(self) -> Holds:
        """What it has fields for."""
        ...

    def claims(self, name: str, head: str) -> bool:
        """Whether a file looks like one of its label files.

        Args:
            name: in its source.
            head: the beginning of its text.
        """
        ...

    def read(self, file: LabelFile) -> Iterator[Row]:
        """Read one label file, a row for each image it speaks of; damaged parts become rows and findings.

        Raises:
            LabelUnreadable: it ends, or is no such file, from some line on; rows before it have been given.
            OSError: the file cannot be opened.
        """
        ...

    def writer(self, target: Target) -> Writer:
        """Begin to write a folder of labels."""
        ...
