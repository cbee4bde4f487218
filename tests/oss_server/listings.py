"""Listings of a bucket, and the deletion of many of its objects."""

import base64
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.oss_server.messages import Answer, Refused, Request, xml
from tests.oss_server.objects import Objects
from tests.oss_server.operations import check_digest, iso

MAX_KEYS: Final = 1000
DEFAULT_KEYS: Final = 100


def list_objects(request: Request, objects: Objects) -> Answer:
    """ListObjects and, with ``list-type=2``, ListObjectsV2."""
    query = request.query
    number = query.get("max-keys") or str(DEFAULT_KEYS)
    if not number.isdigit() or not 1 <= int(number) <= MAX_KEYS:
        raise Refused(400, "InvalidArgument", "Argument max-keys must be an integer between 1 and 1000.", ArgumentName="max-keys")
    is_v2 = query.get("list-type") == "2"
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    token = query.get("continuation-token", "")
    start = (_from_token(token) if token else query.get("start-after", "")) if is_v2 else query.get("marker", "")
    keys, prefixes, last, is_truncated = _page(objects, prefix, delimiter, start, int(number))

    def encoded(text: str) -> str:
        return quote(text, safe="/-_.~") if query.get("encoding-type") == "url" else escape(text)

    inner = f"<Name>{request.bucket}</Name><Prefix>{encoded(prefix)}</Prefix><MaxKeys>{number}</MaxKeys>"
    inner += f"<Delimiter>{encoded(delimiter)}</Delimiter><IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
    if query.get("encoding-type") == "url":
        inner += "<EncodingType>url</EncodingType>"
    if is_v2:
        inner += f"<StartAfter>{encoded(query.get('start-after', ''))}</StartAfter><KeyCount>{len(keys) + len(prefixes)}</KeyCount>"
        inner += f"<NextContinuationToken>{_token(last)}</NextContinuationToken>" if is_truncated else ""
    else:
        inner += f"<Marker>{encoded(start)}</Marker>"
        inner += f"<NextMarker>{encoded(last)}</NextMarker>" if is_truncated else ""
    # The second version tells owners only when it is asked.
    owner = "" if is_v2 and query.get("fetch-owner") != "true" else "<Owner><ID>1</ID><DisplayName>1</DisplayName></Owner>"
    for key in keys:
        found = objects.get(key)
        if found is not None:
            inner += (
                f"<Contents><Key>{encoded(key)}</Key><LastModified>{iso(found.modified_time)}</LastModified>"
                f'<ETag>"{found.etag}"</ETag><Type>{found.kind}</Type><Size>{len(found.data)}</Size>'
                f"<StorageClass>Standard</StorageClass>{owner}</Contents>"
            )
    inner += "".join(f"<CommonPrefixes><Prefix>{encoded(one)}</Prefix></CommonPrefixes>" for one in prefixes)
    return Answer(200, {"Content-Type": "application/xml"}, xml("ListBucketResult", inner))


def delete_objects(request: Request, objects: Objects) -> Answer:
    """DeleteMultipleObjects: its body needs a Content-MD5."""
    if "content-md5" not in request.headers:
        raise Refused(400, "MissingArgument", "Missing Some Required Arguments.", ArgumentName="Content-MD5")
    check_digest(request)
    document = ElementTree.fromstring(request.body)
    keys = [node.text or "" for node in document.iterfind("Object/Key")]
    if not 1 <= len(keys) <= MAX_KEYS:
        raise Refused(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")
    for key in keys:
        objects.remove(key)
    is_encoded = request.query.get("encoding-type") == "url"
    inner = "<EncodingType>url</EncodingType>" if is_encoded else ""
    if document.findtext("Quiet") != "true":
        inner += "".join(f"<Deleted><Key>{quote(key, safe='') if is_encoded else escape(key)}</Key></Deleted>" for key in keys)
    return Answer(200, {"Content-Type": "application/xml"}, xml("DeleteResult", inner))


def _page(objects: Objects, prefix: str, delimiter: str, start: str, number: int) -> tuple[list[str], list[str], str, bool]:
    """Keys, common prefixes, where it ends, and whether more follow. Prefixes count as keys do."""
    keys: list[str] = []
    prefixes: list[str] = []
    last = ""
    # The prefix itself may be an object; what sorts before it need not be looked at.
    for name in objects.names_after(start if start >= prefix else prefix[:-1]):
        if not name.startswith(prefix):
            if name > prefix:
                break
            continue
        head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        common = prefix + head + delimiter if found else ""
        # A page may have ended with this very prefix.
        if common and (common in prefixes or start.startswith(common)):
            continue
        if len(keys) + len(prefixes) == number:
            return keys, prefixes, last, True
        last = common or name
        (prefixes if common else keys).append(last)
    return keys, prefixes, last, False


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise Refused(400, "InvalidArgument", "The continuation token is not valid.", ArgumentName="continuation-token") from None
