"""Names of images in files of labelling services, which are addresses of their stores."""

import re
from urllib.parse import unquote

_STORE = re.compile(r"(?:oss|s3|gs|azure-blob|obs)://[^/]*/", re.IGNORECASE)
_WEB = re.compile(r"(?:https?|file)://[^/]*/", re.IGNORECASE)
_LOCAL_FILES = "/data/local-files/?d="
_UPLOAD = re.compile(r"(?:https?://[^/]*)?/(?:.*/)?data/upload/(?:\d+/)?", re.IGNORECASE)
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")


def names_of_address(address: str) -> list[str]:
    """The names that the image behind an address may have, the likeliest first; what is no address stays as it is.

    Label Studio puts eight characters before the name of what was uploaded to it; the image may be kept with or without them.
    """
    address = address.strip()
    if address.startswith(_LOCAL_FILES):
        return [unquote(address[len(_LOCAL_FILES) :])]
    if upload := _UPLOAD.match(address):
        name = unquote(address[upload.end() :])
        return list(dict.fromkeys((name, _UPLOAD_PREFIX.sub("", name, count=1))))
    if store := _STORE.match(address):
        return [address[store.end() :]]
    if web := _WEB.match(address):
        return [unquote(re.split(r"[?#]", address[web.end() :])[0])]
    return [address]
