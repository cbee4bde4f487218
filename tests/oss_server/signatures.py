"""Checks signatures of versions 1 and 4, in the header and in the URL."""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote

from tests.oss_server.messages import Refused, Request

MAX_SKEW: Final = timedelta(minutes=15)
_DATE: Final = "%Y%m%dT%H%M%SZ"
_V4: Final = "OSS4-HMAC-SHA256"
_AUTHORIZATION: Final = re.compile(
    r"OSS4-HMAC-SHA256 Credential=(?P<credential>[^,]+),\s*(?:AdditionalHeaders=(?P<before>[^,]*),\s*)?"
    r"Signature=(?P<signature>[0-9a-f]{64})(?:,\s*AdditionalHeaders=(?P<after>.*))?"
)
# Of the query, version 1 signs these alone.
_SUBRESOURCES: Final = frozenset(
    {
        "acl", "append", "continuation-token", "cors", "delete", "encryption", "lifecycle", "location", "logging", "objectMeta",
        "partNumber", "position", "referer", "response-cache-control", "response-content-disposition", "response-content-encoding",
        "response-content-language", "response-content-type", "response-expires", "restore", "security-token", "stat", "symlink", "tagging",
        "uploadId", "uploads", "versionId", "versioning", "versions", "website", "x-oss-process",
    }
)  # fmt: skip


@dataclass
class Account:
    """An access key. One with a token is temporary."""

    secret: str
    token: str = ""
    expired: bool = False


def check_signature(request: Request, accounts: Mapping[str, Account], *, region: str, at: datetime) -> None:
    """Let a request pass that one of the accounts signed.

    Raises:
        Refused: as OSS says it.
    """
    authorization = request.headers.get("authorization", "")
    if authorization.startswith(_V4):
        _check_v4_header(request, authorization, accounts, region, at)
    elif authorization.startswith("OSS "):
        _check_v1_header(request, authorization.removeprefix("OSS "), accounts, at)
    elif request.query.get("x-oss-signature-version") == _V4:
        _check_v4_url(request, accounts, region, at)
    elif "Signature" in request.query and "Expires" in request.query:
        _check_v1_url(request, accounts, at)
    else:
        raise Refused(403, "AccessDenied", "You have no right to access this object because of bucket acl.")


def _check_v4_header(request: Request, authorization: str, accounts: Mapping[str, Account], region: str, at: datetime) -> None:
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None or request.headers.get("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
        raise Refused(400, "InvalidArgument", "The authorization header is malformed.")
    moment = _moment(request.headers.get("x-oss-date", ""))
    _check_skew(moment, at)
    additional = match["after"] or match["before"] or ""
    account = _account(match["credential"].partition("/")[0], accounts, request.headers.get("x-oss-security-token", ""))
    _check_v4(request, request.query, match["credential"], additional, moment, match["signature"], account.secret, region)


def _check_v4_url(request: Request, accounts: Mapping[str, Account], region: str, at: datetime) -> None:
    query = dict(request.query)
    signature, credential = query.pop("x-oss-signature", ""), query.get("x-oss-credential", "")
    moment = _moment(query.get("x-oss-date", ""))
    if moment > at + MAX_SKEW or at > moment + timedelta(seconds=int(query.get("x-oss-expires", "0"))):
        raise Refused(403, "AccessDenied", "Request has expired.")
    account = _account(credential.partition("/")[0], accounts, query.get("x-oss-security-token", ""))
    _check_v4(request, query, credential, query.get("x-oss-additional-headers", ""), moment, signature, account.secret, region)


def _check_v4(
    request: Request, query: Mapping[str, str], credential: str, additional: str, moment: datetime, given: str, secret: str, region: str
) -> None:
    _, _, scope = credential.partition("/")
    day = moment.strftime("%Y%m%d")
    if scope != f"{day}/{region}/oss/aliyun_v4_request":
        raise Refused(400, "InvalidArgument", "Invalid signing region, date or product in Authorization header.")
    also = set(filter(None, additional.split(";")))
    signed = sorted(
        (name, value.strip())
        for name, value in request.headers.items()
        if name.startswith("x-oss-") or name in {"content-type", "content-md5"} or name in also
    )
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    canonical = "\n".join(
        [
            request.method,
            quote(f"/{request.bucket}/{request.key}" if request.bucket else "/", safe="/-_.~"),
            "&".join(f"{name}={value}" if value else name for name, value in pairs),
            "".join(f"{name}:{value}\n" for name, value in signed),
            ";".join(sorted(also)),
            "UNSIGNED-PAYLOAD",
        ]
    )
    text = "\n".join([_V4, moment.strftime(_DATE), scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("aliyun_v4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    _compare(hmac.new(key, text.encode(), hashlib.sha256).hexdigest(), given, text)


def _check_v1_header(request: Request, given: str, accounts: Mapping[str, Account], at: datetime) -> None:
    access_key_id, _, signature = given.partition(":")
    # Clients in browsers may not set Date; x-oss-date then stands in its place in the text as well.
    date = request.headers.get("x-oss-date") or request.headers.get("date", "")
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        raise Refused(403, "AccessDenied", "OSS authentication requires a valid Date.") from None
    _check_skew(moment, at)
    account = _account(access_key_id, accounts, request.headers.get("x-oss-security-token", ""))
    _check_v1(request, date, signature, account.secret)


def _check_v1_url(request: Request, accounts: Mapping[str, Account], at: datetime) -> None:
    expires = request.query["Expires"]
    if not expires.isdigit() or at.timestamp() > int(expires):
        raise Refused(403, "AccessDenied", "Request has expired.")
    account = _account(request.query.get("OSSAccessKeyId", ""), accounts, request.query.get("security-token", ""))
    _check_v1(request, expires, request.query["Signature"], account.secret)


def _check_v1(request: Request, date: str, given: str, secret: str) -> None:
    own = "".join(f"{name}:{value}\n" for name, value in sorted(request.headers.items()) if name.startswith("x-oss-"))
    pairs = sorted((name, value) for name, value in request.query.items() if name in _SUBRESOURCES)
    resource = f"/{request.bucket}/{request.key}" if request.bucket else "/"
    if pairs:
        resource += "?" + "&".join(f"{name}={value}" if value else name for name, value in pairs)
    headers = request.headers
    text = "\n".join([request.method, headers.get("content-md5", ""), headers.get("content-type", ""), date, own + resource])
    expected = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
    _compare(expected, given, text)


def _account(access_key_id: str, accounts: Mapping[str, Account], token: str) -> Account:
    account = accounts.get(access_key_id)
    if account is None:
        raise Refused(403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records.")
    if account.token != token:
        raise Refused(403, "InvalidSecurityToken", "The security token you provided is invalid.")
    if account.expired:
        raise Refused(403, "SecurityTokenExpired", "The security token you provided has expired.")
    return account


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise Refused(403, "AccessDenied", "OSS authentication requires a valid x-oss-date.") from None


def _check_skew(moment: datetime, at: datetime) -> None:
    if abs(moment - at) > MAX_SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")


def _compare(expected: str, given: str, text: str) -> None:
    if not hmac.compare_digest(expected, given):
        message = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        raise Refused(403, "SignatureDoesNotMatch", message, SignatureProvided=given, StringToSign=text)
