"""Labels into a dataset, and out of it."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

from inkwright.dataset.v1 import dataset_service_pb2, transfer_pb2
from libs.client.inkwright import PAGE_SIZE, Inkwright
from libs.client.rest import pages

_DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]
_LABEL_SUFFIXES = frozenset({".xml", ".txt", ".tsv", ".json", ".jsonl", ".manifest"})


def upload_labels(
    client: Inkwright, dataset: str, file: Path, *, label_format: str, overwrite: bool, dry_run: bool
) -> transfer_pb2.LabelImport:
    """Send a label file, a ZIP of them, or the label files of a folder, and begin to import them."""
    with _one_file(file) as sent:
        query = urlencode(
            {
                "fileName": file.name if sent is file else f"{file.resolve().name}.zip",
                "format": label_format,
                "overwrite": str(overwrite).lower(),
                "dryRun": str(dry_run).lower(),
            }
        )
        path = f"/v1/{quote(client.full_name('datasets', dataset))}/labelImports:upload?{query}"
        return client.rest.upload(path, sent, transfer_pb2.LabelImport)


def import_stored_labels(
    client: Inkwright, dataset: str, prefix: str, *, label_format: str, overwrite: bool, dry_run: bool
) -> transfer_pb2.LabelImport:
    """Begin to import label files of the dataset's own folder."""
    wanted = transfer_pb2.LabelImport(prefix=prefix, format=label_format, overwrite=overwrite, dry_run=dry_run)
    request = transfer_pb2.CreateLabelImportRequest(parent=client.full_name("datasets", dataset), label_import=wanted)
    return client.rest.call(_DATASETS, "CreateLabelImport", request, transfer_pb2.LabelImport)


def get_label_import(client: Inkwright, name: str) -> transfer_pb2.LabelImport:
    """One import, by its whole name."""
    return client.rest.call(_DATASETS, "GetLabelImport", transfer_pb2.GetLabelImportRequest(name=name), transfer_pb2.LabelImport)


def label_import_rows(client: Inkwright, name: str) -> Iterator[transfer_pb2.LabelImportRow]:
    """What became of each row, page by page."""
    request = transfer_pb2.ListLabelImportRowsRequest(parent=name, page_size=PAGE_SIZE)
    for answer in pages(client.rest, _DATASETS, "ListLabelImportRows", request, transfer_pb2.ListLabelImportRowsResponse):
        yield from answer.rows


def export_labels(client: Inkwright, dataset: str, into: Path, *, label_format: str, version: str, with_images: bool) -> None:
    """Download a ZIP of labels; the file appears whole or not at all."""
    name = client.full_name("datasets", dataset) + (f"/versions/{version.rpartition('/')[2]}" if version else "")
    query = urlencode({"format": label_format, "withImages": str(with_images).lower()})
    part = into.with_name(into.name + ".part")
    try:
        with part.open("wb") as file:
            for chunk in client.rest.download(f"/v1/{quote(name)}:exportLabels?{query}"):
                file.write(chunk)
        part.replace(into)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _one_file(path: Path) -> Iterator[Path]:
    """The file itself; of a folder, a ZIP of its label files."""
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="inkctl-") as folder:
        packed = Path(folder) / "labels.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path.rglob("*")):
                if file.is_file() and file.suffix.lower() in _LABEL_SUFFIXES:
                    archive.write(file, file.relative_to(path))
        yield packed
