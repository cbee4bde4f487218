"""``python -m tests.deploy.start_images``: every image once, all together on PostgreSQL and over mutual TLS; pages are suggested, one
is read, metrics are shown.

As root, after ``make images``. Exit code 1 when one does not come up, does not do its part or does not end.
"""

import base64
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from deploy.certs import make_certificates
from deploy.images.__main__ import FOLDER, TARGETS, image_name
from deploy.images.buildah import Buildah
from inkwright.dataset.v1 import dataset_pb2
from inkwright.inference.v1 import deployment_pb2
from inkwright.labeling.v1 import page_pb2
from libs.client.inkwright import Inkwright
from libs.client.rest import RestClient
from libs.demo.generator import generate
from libs.runtime.secrets import KEY_BYTES
from libs.runtime.settings import CHECKOUT
from libs.runtime.testing import free_port
from tests.deploy.contained import Contained, packages, size_mb
from tests.postgres import Postgres, postgres_server

VERSION = "0.1.0"
READY_SECONDS = 120.0
TOKEN = "a-token-for-this-check"
NATS_TOKEN = "5e1dbus"
METRICS_TOKEN = "a-token-for-metrics"
SERVICES = ("dataset", "labeling", "trainer", "inference", "gateway")
INSTANCE_HOST = "127.0.0.2"
"""Another address than the one that instances would take by themselves."""
HEAVY = {"torch", "openvino", "onnxruntime", "opencv_python_headless"}
"""What an image may lack; each target must have exactly its own."""
WANTED: Mapping[str, set[str]] = {
    "nats": set(),
    "dataset": HEAVY - {"torch"},
    "labeling": set(),
    "gateway": HEAVY - {"torch"},
    "inference": HEAVY - {"torch"},
    "trainer": HEAVY,
}


class ImageFailed(Exception):
    """An image that does not do what it is for."""


def main() -> int:
    """Start all, use them, end all."""
    buildah = Buildah(FOLDER)
    try:
        with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="inkwright-images-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            postgres = stack.enter_context(postgres_server())
            roots = {target: stack.enter_context(buildah.mounted(image_name(target, VERSION))) for target in TARGETS}
            for target, root in roots.items():
                _check_packages(target, root)
            images = _images(folder / "roots")
            env = _environment(postgres)
            with _running(buildah, roots, folder, env):
                _use(env["INKWRIGHT_GATEWAY_ADDRESS"], images)
                _check_metrics(env)
    except ImageFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _check_packages(target: str, root: Path) -> None:
    there = packages(root) & HEAVY
    print(f"{target}: {size_mb(root)} MB, {', '.join(sorted(there)) or 'none of the large packages'}")
    if there != WANTED[target]:
        raise ImageFailed(f"{target} has {sorted(there)}, it needs {sorted(WANTED[target])}")


def _images(roots: Path) -> Path:
    generate(roots / "cards", num_images=3, seed=1, part="train", num_unlabeled=3)
    for path in (roots, *roots.rglob("*")):
        shutil.chown(path, 10001, 10001)
    return roots / "cards"


def _environment(postgres: Postgres) -> dict[str, str]:
    database = postgres.new_database()
    return {
        "INKWRIGHT_NATS_URL": f"nats://{NATS_TOKEN}@127.0.0.1:{free_port()}",
        "INKWRIGHT_TOKEN": TOKEN,
        "INKWRIGHT_INFERENCE_INSTANCE_HOST": INSTANCE_HOST,
        **{f"INKWRIGHT_{service.upper()}_ADDRESS": f"127.0.0.1:{free_port()}" for service in SERVICES},
        **{f"INKWRIGHT_{service.upper()}_METRICS_ADDRESS": f"127.0.0.1:{free_port()}" for service in SERVICES},
        "INKWRIGHT_METRICS_TOKEN": METRICS_TOKEN,
        **{f"INKWRIGHT_{service.upper()}_DATABASE_URL": postgres.url(service, database) for service in SERVICES},
    }


@contextmanager
def _running(buildah: Buildah, roots: Mapping[str, Path], folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    nats_conf = (CHECKOUT / "deploy" / "nats.conf").read_text().replace("4222", env["INKWRIGHT_NATS_URL"].rpartition(":")[2])
    key = bytes(range(KEY_BYTES))
    make_certificates(folder / "certificates", at=datetime.now(UTC))
    started: dict[str, Contained] = {}
    try:
        for target in TARGETS:
            home = folder / target
            home.mkdir()
            arguments: tuple[str, ...] = ()
            own: dict[str, str] = {}
            if target == "nats":
                (home / "nats.conf").write_text(nats_conf)
                arguments = ("--config", "/var/lib/inkwright/nats.conf", "--auth", NATS_TOKEN)
            else:
                (home / "secret.key").write_bytes(key)
                own = _trusted(folder / "certificates", target, home)
                for file in home.iterdir():
                    file.chmod(0o444)
            config = buildah.config(image_name(target, VERSION))
            contained = Contained(roots[target], config, home, folder / "roots", {**env, **own})
            with (folder / f"{target}.log").open("wb") as log:
                contained.start(log, *arguments)
            started[target] = contained
            _until_healthy(target, contained, folder)
        yield
    finally:
        codes = {target: contained.stop() for target, contained in reversed(started.items())}
    for target, code in codes.items():
        if code != 0:
            raise ImageFailed(f"{target} ended with {code} after SIGTERM\n{_tail(folder, target)}")
    print("all ended after SIGTERM")


def _trusted(certificates: Path, target: str, home: Path) -> dict[str, str]:
    """Put a process's certificate into its home; what it has to be told then."""
    files = {"CERTIFICATE": f"{target}.pem", "KEY": f"{target}.key", "AUTHORITY": "authority.pem"}
    for name in files.values():
        shutil.copyfile(certificates / name, home / name)
    return {f"INKWRIGHT_TLS_{what}": f"/var/lib/inkwright/{name}" for what, name in files.items()}


def _until_healthy(target: str, contained: Contained, folder: Path) -> None:
    began = time.monotonic()
    while not contained.is_healthy():
        if contained.process is None or contained.process.poll() is not None or time.monotonic() - began > READY_SECONDS:
            raise ImageFailed(f"{target} did not become healthy\n{_tail(folder, target)}")
        time.sleep(0.5)
    print(f"{target}: healthy after {time.monotonic() - began:.1f} s")


def _use(gateway: str, images: Path) -> None:
    client = Inkwright(RestClient(f"http://{gateway}", TOKEN))
    client.create_dataset("cards", path="/roots/cards")
    *_, dataset = client.watch(lambda: client.get_dataset("cards"), until=lambda one: one.state != dataset_pb2.Dataset.INDEXING)
    prelabel = client.create_prelabel("cards")
    *_, run = client.watch(lambda: client.get_prelabel(prelabel.name), until=lambda one: one.state != page_pb2.Prelabel.RUNNING)
    if dataset.counts.num_images != 3 or run.state != page_pb2.Prelabel.SUCCEEDED or run.num_boxes == 0:
        raise ImageFailed(f"no suggestions: {dataset} {run}")
    print(f"{run.num_boxes} suggestions on {dataset.counts.num_images} pages")
    client.create_deployment("reader", deployment_pb2.Deployment(model="projects/default/models/ppocrv6-small"))
    ended = (deployment_pb2.Deployment.RUNNING, deployment_pb2.Deployment.FAILED)
    *_, deployment = client.watch(lambda: client.get_deployment("reader"), until=lambda one: one.state in ended)
    page = next(path for path in images.iterdir() if path.suffix in (".jpg", ".jpeg", ".png"))
    body = {"dataArray": [{"body": base64.b64encode(page.read_bytes()).decode()}]}
    token = client.reveal_token("reader")
    answer = httpx.post(f"http://{gateway}{deployment.predict_path}", json=body, headers={"Authorization": token}, timeout=60)
    lines = answer.json()["result"]["output"] if answer.status_code == 200 else []
    endpoints = [instance.endpoint for instance in deployment.instances]
    if not lines or not all(endpoint.startswith(INSTANCE_HOST) for endpoint in endpoints):
        raise ImageFailed(f"HTTP {answer.status_code}, instances at {endpoints}: {answer.text[:500]}")
    print(f"{len(lines)} lines read by the instance at {', '.join(endpoints)}")


def _check_metrics(env: Mapping[str, str]) -> None:
    for service in SERVICES:
        url = f"http://{env[f'INKWRIGHT_{service.upper()}_METRICS_ADDRESS']}/metrics"
        stranger = httpx.get(url).status_code
        shown = httpx.get(url, headers={"Authorization": f"Bearer {METRICS_TOKEN}"}, timeout=30)
        if stranger != 401 or shown.status_code != 200 or "inkwright_" not in shown.text:
            raise ImageFailed(f"metrics of {service}: HTTP {stranger} to strangers, {shown.status_code} with the token: {shown.text[:300]}")
    print(f"{len(SERVICES)} processes show metrics to whoever has the token")


def _tail(folder: Path, target: str) -> str:
    return "\n".join((folder / f"{target}.log").read_text(errors="replace").splitlines()[-15:])


if __name__ == "__main__":
    sys.exit(main())
