"""Requests to OSS over one connection: ``oss2`` in a bounded number of threads, repeated where that is safe."""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import oss2

from libs.runtime.logs import get_logger
from libs.runtime.oss_connection import ConnectionsUnusable, OssConnection
from libs.runtime.oss_faults import PassingTrouble, StaleCredentials, StoreForbidden

log = get_logger()

T = TypeVar("T")

MAX_DELAY_SECONDS: Final = 5.0


class OssClient:
    """One connection's requests, pooled connections and threads.

    Args:
        name: of the connection.
        connection: its settings.
    """

    def __init__(self, name: str, connection: OssConnection) -> None:
        self.name = name
        self._connection = connection
        self._credentials = connection.credentials()
        auth = oss2.ProviderAuthV4 if connection.signature == "v4" else oss2.ProviderAuth
        self._auth = auth(self._credentials)
        self._session = oss2.Session(pool_size=connection.threads)
        inner = self._session.session
        # Nothing of the process's surroundings: a proxy from there, or a .netrc that replaces the signature.
        inner.trust_env = False
        # OSS redirects nobody; what does is something else, and has no business with a signed request.
        inner.max_redirects = 0
        inner.verify = str(connection.ca_bundle) if connection.ca_bundle else True
        self._threads = ThreadPoolExecutor(connection.threads, thread_name_prefix=f"oss-{name}")

    def bucket(self, name: str) -> Any:
        """An ``oss2.Bucket``; its methods block.

        Raises:
            oss2.exceptions.ClientError: no name that a bucket can have.
        """
        connection = self._connection
        proxy = connection.proxy.get_secret_value() if connection.proxy else None
        return oss2.Bucket(
            self._auth,
            connection.endpoint,
            name,
            is_cname=connection.custom_domain,
            session=self._session,
            # Named for connecting alone, but handed to requests as it is.
            connect_timeout=(connection.connect_timeout_seconds, connection.read_timeout_seconds),
            # In Python alone it takes seconds for a photograph. Lengths are checked by urllib3, uploads by their Content-MD5.
            enable_crc=False,
            proxies={"http": proxy, "https": proxy} if proxy else None,
            region=connection.region or None,
            is_path_style=connection.path_style,
            is_verify_object_strict=False,
        )

    async def repeat(self, attempt: Callable[[bool], T]) -> T:
        """Run ``attempt`` in a thread until it ends well, or as often as the connection allows, with a growing delay.

        Args:
            attempt: raises faults; told whether an earlier try may have had its effect without our hearing of it.

        Raises:
            Fault: what the attempt raised at last.
        """
        delay = self._connection.first_delay_seconds
        for number in range(1, self._connection.max_tries + 1):
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._one, attempt, number > 1)
            except PassingTrouble as fault:
                if number == self._connection.max_tries:
                    raise
                log.info("oss_try_failed", number=number, message=fault.message)
            # Not all at the same moment again.
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, MAX_DELAY_SECONDS)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Let go of connections and idle threads; a request that runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.session.close()

    def _one(self, attempt: Callable[[bool], T], again: bool) -> T:
        try:
            used = self._credentials.get_credentials()
        except ConnectionsUnusable as error:
            raise StoreForbidden(f"OSS connection {self.name}: {error}", connection=self.name) from error
        try:
            return attempt(again)
        except StaleCredentials:
            # Renewed between the signature and its arrival; then, and only then, a second try says something new.
            if self._credentials.get_credentials() is used:
                raise
            return attempt(again)
