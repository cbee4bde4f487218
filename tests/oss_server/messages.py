"""Requests and answers, and OSS's refusals."""

import base64
from dataclasses import dataclass, field
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Request:
    """What came, decoded. Header names are in lower case."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def action(self) -> str:
        """What a policy calls it."""
        if not self.key:
            return "oss:DeleteObject" if "delete" in self.query else "oss:ListObjects"
        if "uploadId" in self.query and self.method in ("GET", "DELETE"):
            return "oss:ListParts" if self.method == "GET" else "oss:AbortMultipartUpload"
        return {"GET": "oss:GetObject", "HEAD": "oss:GetObject", "DELETE": "oss:DeleteObject"}.get(self.method, "oss:PutObject")


@dataclass
class Answer:
    """What goes back."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Refused(Exception):
    """An error of OSS: HTTP status, code, message, and further elements of its body."""

    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.more = status, code, message, more

    def answer(self, request_id: str, *, has_body: bool) -> Answer:
        """Without a body, as for HEAD, a header carries it."""
        parts = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": "oss-test", **self.more}
        body = xml("Error", "".join(f"<{name}>{escape(text)}</{name}>" for name, text in parts.items()))
        if has_body:
            return Answer(self.status, {"Content-Type": "application/xml"}, body)
        return Answer(self.status, {"x-oss-err": base64.b64encode(body).decode()} if self.status >= 400 else {})


def xml(root: str, inner: str) -> bytes:
    """A document around markup."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inner}</{root}>'.encode()
