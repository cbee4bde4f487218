"""A folder of labels: which format it is in, and a row for everything in it."""

from collections.abc import Iterator

from libs.ocrkit.labels.format import Format, LabelFile
from libs.ocrkit.labels.formats.all_formats import FORMATS
from libs.ocrkit.labels.image_finder import ImageFinder
from libs.ocrkit.labels.page import Finding, LabelUnreadable, ReadOptions, Row
from libs.ocrkit.labels.source import Source, is_image, is_safe_name, shown_name, split_suffix
from libs.ocrkit.labels.text_file import read_head
from libs.runtime.errors import InvalidInput

LABEL_SUFFIXES = frozenset({".xml", ".txt", ".tsv", ".json", ".jsonl", ".manifest"})
_NUM_LOOKED_AT = 200
"""Label files that are opened to guess their format."""


def guess_format(source: Source) -> Format:
    """The format of the labels in a source, from the first of its files.

    Raises:
        InvalidInput: there are none, or labels of several formats.
    """
    claimed: dict[str, set[str]] = {key: set() for key in FORMATS}
    num_looked_at = 0
    for name in source.names():
        if split_suffix(name)[1] not in LABEL_SUFFIXES:
            continue
        head = _head(source, name)
        for key, one in FORMATS.items():
            if one.claims(name, head):
                claimed[key].add(name)
        num_looked_at += 1
        if num_looked_at >= _NUM_LOOKED_AT:
            break
    # An empty file may be of several formats: whoever is sure of more than another rules it out.
    found = [key for key, names in claimed.items() if names and not any(names < others for others in claimed.values())]
    found = [key for index, key in enumerate(found) if not any(claimed[key] == claimed[before] for before in found[:index])]
    if not found:
        raise InvalidInput(f"There are no labels of a known format here; there are {', '.join(FORMATS)}.")
    if len(found) > 1:
        raise InvalidInput(f"There are labels of several formats here ({', '.join(found)}); say which is meant.", formats=", ".join(found))
    return FORMATS[found[0]]


def read_labels(source: Source, label_format: Format, options: ReadOptions | None = None) -> Iterator[Row]:
    """Everything in a source, label file by label file; it never stops at a mistake, and never holds more than one file's labels.

    Args:
        source: label files and images.
        label_format: of the labels; other label files are passed over.
        options: what a person asked for.

    Yields:
        A row for each image a label file speaks of, for each label file or line that cannot be used, and at the end for each image
        without labels.
    """
    images = ImageFinder(source)
    labeled: set[str] = set()
    spoken_of: set[str] = set()
    for name in label_files(source, label_format):
        for row in read_label_file(label_format, LabelFile(name, source, images, options or ReadOptions())):
            spoken_of.add(row.name)
            if row.page is not None and row.name in labeled:
                message = f"{row.name} has labels already; those in {row.label_name} were left out."
                yield Row(row.name, row.label_name, None, (Finding("failed", "LABELED_TWICE", message),))
                continue
            if row.page is not None:
                labeled.add(row.name)
            yield row
    for name in filter(is_image, source.names()):
        if name in spoken_of:
            continue
        if is_safe_name(name):
            yield Row(name, "", None)
        else:
            message = f"{shown_name(name)!r} holds control characters or is too long to stand in a label file; rename the image."
            yield Row(shown_name(name), "", None, (Finding("failed", "NAME_REFUSED", message),))


def label_files(source: Source, label_format: Format) -> Iterator[str]:
    """Names of the label files of a format in a source."""
    for name in source.names():
        if split_suffix(name)[1] in LABEL_SUFFIXES and label_format.claims(name, _head(source, name)):
            yield name


def read_label_file(label_format: Format, file: LabelFile) -> Iterator[Row]:
    """The rows of one label file; what stood before it breaks off is given, and then a row that says where it does."""
    try:
        yield from label_format.read(file)
    except LabelUnreadable as fault:
        line = fault.metadata.get("line")
        yield Row(shown_name(file.name), file.name, None, (Finding("failed", fault.reason, fault.message, int(line) if line else None),))
    except OSError as error:
        message = f"{shown_name(file.name)} cannot be opened: {error.strerror or error}."
        yield Row(shown_name(file.name), file.name, None, (Finding("failed", "LABEL_UNREADABLE", message),))


def _head(source: Source, name: str) -> str:
    try:
        return read_head(source, name)
    except OSError:
        return ""
