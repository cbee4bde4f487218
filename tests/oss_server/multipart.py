"""Uploads in parts."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.oss_server.messages import Answer, Refused, Request, xml
from tests.oss_server.objects import Objects, Stored, crc64
from tests.oss_server.operations import check_digest, check_overwrite, iso, kept_headers

MIN_PART_BYTES: Final = 100 * 1024
"""Of every part but the last."""
MAX_PARTS: Final = 10_000


@dataclass
class _Upload:
    key: str
    headers: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class Uploads:
    """Those of one bucket that are not completed."""

    def __init__(self) -> None:
        self._uploads: dict[str, _Upload] = {}

    def answer(self, request: Request, objects: Objects) -> Answer:
        """Do what the request's method and query ask for."""
        if "uploads" in request.query and request.method == "POST":
            return self._begin(request, objects)
        upload = self._uploads.get(request.query["uploadId"])
        if upload is None or upload.key != request.key:
            raise Refused(404, "NoSuchUpload", "The specified upload does not exist. It may have been aborted or completed.")
        match request.method:
            case "PUT":
                return _put_part(request, upload)
            case "GET":
                return _list_parts(request, upload)
            case "POST":
                return self._complete(request, upload, objects)
            case "DELETE":
                del self._uploads[request.query["uploadId"]]
                return Answer(204)
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")

    def _begin(self, request: Request, objects: Objects) -> Answer:
        check_overwrite(request, objects)
        upload_id = secrets.token_hex(16).upper()
        self._uploads[upload_id] = _Upload(request.key, kept_headers(request))
        inner = f"<Bucket>{request.bucket}</Bucket><Key>{escape(request.key)}</Key><UploadId>{upload_id}</UploadId>"
        return _document("InitiateMultipartUploadResult", inner)

    def _complete(self, request: Request, upload: _Upload, objects: Objects) -> Answer:
        check_overwrite(request, objects)
        document = ElementTree.fromstring(request.body)
        wanted = [(int(node.findtext("PartNumber", "0")), node.findtext("ETag", "").strip('"')) for node in document.iterfind("Part")]
        numbers = [number for number, _ in wanted]
        if numbers != sorted(set(numbers)) or not numbers:
            raise Refused(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        if any(number not in upload.parts or _etag(upload.parts[number]) != etag for number, etag in wanted):
            raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found.")
        parts = [upload.parts[number] for number in numbers]
        if any(len(part) < MIN_PART_BYTES for part in parts[:-1]):
            raise Refused(400, "EntityTooSmall", "Your proposed upload smaller than the minimum allowed size.")
        digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
        data, etag = b"".join(parts), f"{hashlib.md5(digests, usedforsecurity=False).hexdigest().upper()}-{len(parts)}"
        objects.put(request.key, Stored(data, etag, datetime.now(UTC), "Multipart", upload.headers))
        del self._uploads[request.query["uploadId"]]
        inner = f'<Bucket>{request.bucket}</Bucket><Key>{escape(request.key)}</Key><ETag>"{etag}"</ETag>'
        answer = _document("CompleteMultipartUploadResult", inner)
        answer.headers |= {"ETag": f'"{etag}"', "x-oss-hash-crc64ecma": str(crc64(data))}
        return answer


def _put_part(request: Request, upload: _Upload) -> Answer:
    number = int(request.query.get("partNumber") or 0)
    if not 1 <= number <= MAX_PARTS:
        raise Refused(400, "InvalidArgument", "Part number must be an integer between 1 and 10000.", ArgumentName="partNumber")
    check_digest(request)
    upload.parts[number] = request.body
    return Answer(200, {"ETag": f'"{_etag(request.body)}"', "x-oss-hash-crc64ecma": str(crc64(request.body))})


def _list_parts(request: Request, upload: _Upload) -> Answer:
    limit, after = int(request.query.get("max-parts") or 1000), int(request.query.get("part-number-marker") or 0)
    numbers = sorted(number for number in upload.parts if number > after)
    shown = numbers[:limit]
    inner = f"<Bucket>{request.bucket}</Bucket><Key>{escape(request.key)}</Key><UploadId>{request.query['uploadId']}</UploadId>"
    inner += f"<MaxParts>{limit}</MaxParts><IsTruncated>{str(len(numbers) > limit).lower()}</IsTruncated>"
    inner += f"<NextPartNumberMarker>{shown[-1] if shown else 0}</NextPartNumberMarker>"
    for number in shown:
        part = upload.parts[number]
        inner += f'<Part><PartNumber>{number}</PartNumber><LastModified>{iso(datetime.now(UTC))}</LastModified><ETag>"{_etag(part)}"</ETag>'
        inner += f"<Size>{len(part)}</Size><HashCrc64ecma>{crc64(part)}</HashCrc64ecma></Part>"
    return _document("ListPartsResult", inner)


def _etag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().upper()


def _document(root: str, inner: str) -> Answer:
    return Answer(200, {"Content-Type": "application/xml"}, xml(root, inner))
