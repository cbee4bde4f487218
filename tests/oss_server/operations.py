"""What OSS does with objects, once a request may pass."""

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final
from urllib.parse import unquote

from tests.oss_server.messages import Answer, Refused, Request
from tests.oss_server.objects import Objects, Stored, crc64, stored

MAX_NAME_BYTES: Final = 1023
_KEPT: Final = ("content-type", "content-encoding", "content-disposition", "cache-control", "expires")
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def get_object(request: Request, objects: Objects) -> Answer:
    """GetObject, HeadObject and GetObjectMeta."""
    found = existing(objects, request.key)
    headers = about(found)
    if "objectMeta" in request.query:
        kept = {name: headers[name] for name in ("ETag", "Last-Modified")}
        return Answer(200, {**kept, "Content-Length": str(len(found.data))})
    _check_conditions(request.headers, found)
    if request.method == "HEAD":
        return Answer(200, {**headers, "Content-Length": str(len(found.data))})
    cut = _range(request.headers, len(found.data))
    if cut is None:
        return Answer(200, headers, found.data)
    first, last = cut
    headers["Content-Range"] = f"bytes {first}-{last}/{len(found.data)}"
    return Answer(206, headers, found.data[first : last + 1])


def put_object(request: Request, objects: Objects, buckets: Mapping[str, Objects]) -> Answer:
    """PutObject and CopyObject."""
    check_overwrite(request, objects)
    source = request.headers.get("x-oss-copy-source")
    if source is None:
        check_digest(request)
        new = stored(request.body, kept_headers(request))
        objects.put(request.key, new)
        return Answer(200, {"ETag": f'"{new.etag}"', "x-oss-hash-crc64ecma": str(crc64(new.data))})
    bucket, _, key = unquote(source).lstrip("/").partition("/")
    if bucket not in buckets:
        raise no_bucket(bucket)
    found = existing(buckets[bucket], key)
    copied = Stored(found.data, found.etag, datetime.now(UTC), found.kind, found.headers)
    objects.put(request.key, copied)
    inner = f'<ETag>"{copied.etag}"</ETag><LastModified>{iso(copied.modified_time)}</LastModified>'
    body = f'<?xml version="1.0" encoding="UTF-8"?><CopyObjectResult>{inner}</CopyObjectResult>'.encode()
    return Answer(200, {"Content-Type": "application/xml", "ETag": f'"{copied.etag}"'}, body)


def delete_object(request: Request, objects: Objects) -> Answer:
    """DeleteObject: one that is not there is deleted as well."""
    objects.remove(request.key)
    return Answer(204)


def existing(objects: Objects, key: str) -> Stored:
    """The object.

    Raises:
        Refused: there is none.
    """
    found = objects.get(key)
    if found is None:
        raise Refused(404, "NoSuchKey", "The specified key does not exist.", Key=key)
    return found


def no_bucket(name: str) -> Refused:
    """There is none of this name."""
    return Refused(404, "NoSuchBucket", "The specified bucket does not exist.", BucketName=name)


def about(found: Stored) -> dict[str, str]:
    """What every answer about an object carries."""
    return {
        "Content-Type": "application/octet-stream",
        **found.headers,
        "ETag": f'"{found.etag}"',
        "Last-Modified": format_datetime(found.modified_time, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-oss-object-type": found.kind,
        "x-oss-storage-class": "Standard",
        "x-oss-hash-crc64ecma": str(crc64(found.data)),
    }


def kept_headers(request: Request) -> dict[str, str]:
    """Those an object is stored with."""
    return {name: value for name, value in request.headers.items() if name in _KEPT or name.startswith("x-oss-meta-")}


def check_name(name: str) -> None:
    """Refuse what no object may be called."""
    if len(name.encode()) > MAX_NAME_BYTES or name.startswith(("/", "\\")):
        raise Refused(400, "InvalidObjectName", "The specified object is not valid.", ObjectName=name[:100])


def check_overwrite(request: Request, objects: Objects) -> None:
    """Refuse to replace where that is forbidden."""
    if request.headers.get("x-oss-forbid-overwrite", "").lower() == "true" and objects.get(request.key) is not None:
        raise Refused(409, "FileAlreadyExists", "The object you specified already exists and can not be overwritten.")


def check_digest(request: Request) -> None:
    """Compare the body with its Content-MD5, where there is one."""
    given = request.headers.get("content-md5")
    if given and given != base64.b64encode(hashlib.md5(request.body, usedforsecurity=False).digest()).decode():
        raise Refused(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")


def iso(moment: datetime) -> str:
    """As listings show it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _check_conditions(headers: Mapping[str, str], found: Stored) -> None:
    modified = found.modified_time.replace(microsecond=0)
    if (wanted := headers.get("if-match")) and wanted.strip('"') != found.etag:
        raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.", Condition="If-Match")
    if (limit := headers.get("if-unmodified-since")) and modified > parsedate_to_datetime(limit):
        raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
    not_modified = Refused(304, "NotModified", "")
    if (known := headers.get("if-none-match")) and known.strip('"') == found.etag:
        raise not_modified
    if (since := headers.get("if-modified-since")) and modified <= parsedate_to_datetime(since):
        raise not_modified


def _range(headers: Mapping[str, str], size: int) -> tuple[int, int] | None:
    """First and last byte. A range that reaches out of the object counts for nothing, unless standard behaviour is asked for."""
    match = _RANGE.fullmatch(headers.get("range", ""))
    if match is None or match.groups() == ("", ""):
        return None
    standard = headers.get("x-oss-range-behavior") == "standard"
    if not match[1]:
        first, last, fits = max(0, size - int(match[2])), size - 1, int(match[2]) <= size
    else:
        first, last = int(match[1]), int(match[2] or size - 1)
        fits = first <= last < size
        last = min(last, size - 1)
    if fits:
        return first, last
    if not standard:
        return None
    if first > last:
        raise Refused(416, "InvalidRange", "The requested range cannot be satisfied")
    return first, last
