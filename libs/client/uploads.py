"""Uploads into a dataset's folder, as typed calls; a transfer that breaks goes on where it was."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty

from inkwright.dataset.v1 import dataset_service_pb2, upload_pb2
from libs.client.rest import ApiError, RestClient, Unreachable, pages

DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]

CHUNK_BYTES: Final = 8 * 1024 * 1024
PAGE_SIZE: Final = 500
PATIENCE_SECONDS: Final = 60.0
"""How long a server that does not answer is waited for."""

_PASSING_STATUS = 500


class Uploads:
    """What is on its way into one dataset.

    Every method raises ``ApiError`` when the server refuses and ``Unreachable`` when it does not answer.

    Args:
        rest: the installation.
        dataset: whole name, ``projects/default/datasets/receipts``.
    """

    def __init__(self, rest: RestClient, dataset: str) -> None:
        self._rest = rest
        self._dataset = dataset

    def send(
        self, file: Path, *, folder: str = "", options: upload_pb2.Upload | None = None, sent: Callable[[int], None] = lambda _bytes: None
    ) -> upload_pb2.Upload:
        """Send a file's bytes; the same file with the same options goes on where an earlier call was stopped.

        Args:
            file: what to send; its name stays.
            folder: below the dataset's.
            options: its ``rename``, ``split_pages`` and ``convert``.
            sent: called with the bytes that are safe so far.
        """
        digest = _digest(file)
        upload = upload_pb2.Upload(file_name=file.name, folder=folder, size_bytes=file.stat().st_size, sha256=digest)
        upload.MergeFrom(options or upload_pb2.Upload())
        request_id = hashlib.sha256(upload.SerializeToString(deterministic=True)).hexdigest()
        request = upload_pb2.CreateUploadRequest(parent=self._dataset, upload=upload, request_id=request_id)
        upload = self._rest.call(DATASETS, "CreateUpload", request, upload_pb2.Upload)
        since = time.monotonic()
        with file.open("rb") as source:
            while upload.state == upload_pb2.Upload.RECEIVING:
                sent(upload.received_bytes)
                source.seek(upload.received_bytes)
                try:
                    upload = self._chunk(upload, source.read(CHUNK_BYTES))
                    since = time.monotonic()
                except (ApiError, Unreachable) as error:
                    if not _is_passing(error) or time.monotonic() - since > PATIENCE_SECONDS:
                        raise
                    time.sleep(0.5)
                    upload = self._asked_again(upload, since)
        sent(upload.received_bytes)
        return upload

    def get(self, name: str) -> upload_pb2.Upload:
        """One upload."""
        return self._rest.call(DATASETS, "GetUpload", upload_pb2.GetUploadRequest(name=name), upload_pb2.Upload)

    def list_all(self) -> list[upload_pb2.Upload]:
        """All, the newest first."""
        request = upload_pb2.ListUploadsRequest(parent=self._dataset, page_size=PAGE_SIZE)
        answers = pages(self._rest, DATASETS, "ListUploads", request, upload_pb2.ListUploadsResponse)
        return [upload for answer in answers for upload in answer.uploads]

    def rows(self, name: str) -> Iterator[upload_pb2.UploadRow]:
        """What became of each file."""
        request = upload_pb2.ListUploadRowsRequest(parent=name, page_size=PAGE_SIZE)
        for answer in pages(self._rest, DATASETS, "ListUploadRows", request, upload_pb2.ListUploadRowsResponse):
            yield from answer.rows

    def delete(self, name: str) -> None:
        """End and forget one; what it stored stays."""
        self._rest.call(DATASETS, "DeleteUpload", upload_pb2.DeleteUploadRequest(name=name), Empty)

    def _chunk(self, upload: upload_pb2.Upload, data: bytes) -> upload_pb2.Upload:
        answer = self._rest.send_bytes("PATCH", f"/v1/{upload.name}:bytes", data, {"Upload-Offset": str(upload.received_bytes)})
        return json_format.Parse(answer, upload_pb2.Upload(), ignore_unknown_fields=True)

    def _asked_again(self, upload: upload_pb2.Upload, since: float) -> upload_pb2.Upload:
        while True:
            try:
                return self.get(upload.name)
            except (ApiError, Unreachable) as error:
                if not _is_passing(error) or time.monotonic() - since > PATIENCE_SECONDS:
                    raise
                time.sleep(0.5)


def _is_passing(error: Any) -> bool:
    return isinstance(error, Unreachable) or error.status >= _PASSING_STATUS or error.reason == "CONFLICT"


def _digest(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
