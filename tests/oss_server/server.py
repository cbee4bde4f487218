"""The server: HTTP in, signature checked, operation done, HTTP out."""

import contextlib
import secrets
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.oss_server import listings, operations
from tests.oss_server.messages import Answer, Refused, Request
from tests.oss_server.multipart import Uploads
from tests.oss_server.objects import MemoryObjects, Objects
from tests.oss_server.signatures import Account, check_signature
from tests.oss_server.trouble import Kind, Trouble

REGION: Final = "cn-test"
KEY_ID: Final = "LTAItest"
SECRET: Final = "a-secret-that-no-log-shows"
DOMAIN: Final = f"oss-{REGION}.aliyuncs.com"
"""Below it buckets have names: for clients that reach this server as their proxy, or call it by an address and that name."""


class OssServer:
    """Buckets, accounts, and what goes wrong next. Tests read and change them while it serves."""

    def __init__(self, scheme: str, port: int) -> None:
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.buckets: dict[str, Objects] = {}
        self.accounts = {KEY_ID: Account(SECRET)}
        self.troubles: list[Trouble] = []
        self.requests: list[Request] = []
        self.denied: set[str] = set()
        """Rights that nobody has: ``oss:GetObject``."""
        self.clock_offset = timedelta()
        self.stopped = threading.Event()
        self._uploads: dict[str, Uploads] = {}
        self._lock = threading.Lock()

    def new_bucket(self, name: str, objects: Objects | None = None) -> Objects:
        """Make a bucket."""
        self.buckets[name] = objects if objects is not None else MemoryObjects()
        self._uploads[name] = Uploads()
        return self.buckets[name]

    def connection(self, **settings: object) -> dict[str, object]:
        """Settings of a connection to here that tries again at once."""
        made: dict[str, object] = {
            "endpoint": self.url,
            "region": REGION,
            "access_key_id": KEY_ID,
            "access_key_secret": SECRET,
            "path_style": True,
            "first_delay_seconds": 0.001,
        }
        return made | settings

    def now(self) -> datetime:
        """By its own clock."""
        return datetime.now(UTC) + self.clock_offset

    def trouble_for(self, request: Request) -> Trouble | None:
        """What befalls a request; it is written down too."""
        with self._lock:
            self.requests.append(request)
            return next((trouble for trouble in self.troubles if trouble.fits(request)), None)

    def do(self, request: Request) -> Answer:
        """What OSS answers.

        Raises:
            Refused: it refuses.
        """
        with self._lock:
            check_signature(request, self.accounts, region=REGION, at=self.now())
            objects = self.buckets.get(request.bucket)
            if objects is None:
                raise operations.no_bucket(request.bucket)
            if request.action in self.denied:
                raise Refused(403, "AccessDenied", "You have no right to access this object because of bucket acl.")
            return self._object(request, objects) if request.key else _bucket(request, objects)

    def _object(self, request: Request, objects: Objects) -> Answer:
        operations.check_name(request.key)
        if "uploads" in request.query or "uploadId" in request.query:
            return self._uploads[request.bucket].answer(request, objects)
        match request.method:
            case "GET" | "HEAD":
                return operations.get_object(request, objects)
            case "PUT":
                return operations.put_object(request, objects, self.buckets)
            case "DELETE":
                return operations.delete_object(request, objects)
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")


def _bucket(request: Request, objects: Objects) -> Answer:
    if request.method == "GET":
        return listings.list_objects(request, objects)
    if request.method == "POST" and "delete" in request.query:
        return listings.delete_objects(request, objects)
    raise Refused(501, "NotImplemented", "A header you provided implies functionality that is not implemented.")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: apart, each answer waits 40 ms for an acknowledgement.
    wbufsize = 1 << 16
    oss: OssServer

    def _serve(self) -> None:
        request, request_id = self._request(), secrets.token_hex(12).upper()
        trouble = self.oss.trouble_for(request)
        kind = trouble.kind if trouble else None
        if kind is Kind.SILENT:
            self.oss.stopped.wait(30)
            self.close_connection = True
            return
        try:
            if trouble and trouble.refusal:
                raise trouble.refusal
            if trouble and trouble.happens:
                trouble.happens(request)
            answer = self.oss.do(request)
        except Refused as refusal:
            answer = refusal.answer(request_id, has_body=request.method != "HEAD" and refusal.status != 304)
        if kind is Kind.UNHEARD:
            self.close_connection = True
            return
        self._send(request, answer, request_id, cut=kind is Kind.CUT)

    def _request(self) -> Request:
        target = urlsplit(self.path)
        path = unquote(target.path).removeprefix("/")
        # Asked as a proxy, it finds the name in the whole URL.
        host = target.hostname or self.headers["Host"].rpartition(":")[0] or self.headers["Host"]
        bucket, separator, _ = host.partition(f".{DOMAIN}")
        if not separator:
            bucket, _, path = path.partition("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        return Request(self.command, bucket, path, query, headers, self._body(headers))

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length") or 0))
        found = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _send(self, request: Request, answer: Answer, request_id: str, *, cut: bool) -> None:
        self.send_response_only(answer.status)
        own = {"Server": "AliyunOSS", "Date": format_datetime(self.oss.now(), usegmt=True), "x-oss-request-id": request_id}
        headers = own | {"Content-Length": str(len(answer.body))} | answer.headers
        if answer.status in (204, 304):
            del headers["Content-Length"]
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if cut:
            self.close_connection = True
            self.wfile.write(answer.body[: len(answer.body) // 2])
        elif request.method != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the library names the methods

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of our business; anything else a test must see."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError)):
            super().handle_error(request, client_address)


@contextmanager
def oss_server(*, port: int = 0, certificate: Path | None = None, key: Path | None = None) -> Iterator[OssServer]:
    """A server on the loopback, with no bucket yet.

    Args:
        port: 0 for a free one.
        certificate: PEM; with it and its key it speaks HTTPS.
        key: PEM.
    """
    handler = type("_BoundHandler", (_Handler,), {})
    http = _Http(("127.0.0.1", port), handler)
    if certificate and key:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    server = OssServer("https" if certificate else "http", http.server_port)
    handler.oss = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, name="oss-server")
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        http.shutdown()
        thread.join()
        with contextlib.suppress(OSError):
            http.socket.shutdown(socket.SHUT_RDWR)
        http.server_close()
