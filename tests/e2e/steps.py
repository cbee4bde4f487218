"""What several stories do: wait, call the public API."""

import base64
import time
from collections.abc import Callable

import httpx

from inkwright.inference.v1 import deployment_pb2
from libs.client.inkwright import Inkwright
from libs.client.rest import ApiError
from tests.e2e.conftest import Installation


def wait_for(check: Callable[[], object], *, seconds: float) -> None:
    """Ask every 100 ms; a refusal by the server counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
            reason = "still false"
        except ApiError as error:
            reason = str(error)
        assert time.monotonic() < deadline, reason
        time.sleep(0.1)


def wait_running(client: Inkwright, name: str) -> None:
    """Wait until a deployment is RUNNING and the gateway has had the time to hear of its instance."""
    wait_for(lambda: client.get_deployment(name).state == deployment_pb2.Deployment.RUNNING, seconds=60)
    token = client.reveal_token(name)
    wait_for(lambda: client.rest.predict(name, b"", token=token).get("errorCode") != 404, seconds=10)


def call(inkwright: Installation, deployment: str, *, content: bytes) -> httpx.Response:
    """Post a body to a deployment's address with its token."""
    token = inkwright.client.reveal_token(deployment)
    return httpx.post(f"{inkwright.running.url}/api/predict/{deployment}", content=content, headers={"Authorization": token}, timeout=60)


def predict(inkwright: Installation, deployment: str, image: bytes) -> httpx.Response:
    """Post one image, base64 in JSON."""
    return call(inkwright, deployment, content=b'{"dataArray":[{"body":"' + base64.b64encode(image) + b'"}]}')
