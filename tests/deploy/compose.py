"""The Compose file: whether its parts fit each other, the Dockerfile and our code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from libs.runtime.settings import CHECKOUT
from tests.deploy.dockerfile import Dockerfile
from tests.deploy.documents import load
from tests.deploy.known import CALLS, PREFIX, SECRET_KEYS, SETTINGS, setting_problems

COMPOSE = CHECKOUT / "deploy" / "compose.yaml"
HOME = "/var/lib/inkwright"
OSS_OVERLAY = COMPOSE.with_name("compose.oss.yaml")
GIVEN_BY_OPERATOR = {"IMAGES", "OSS"}

_VARIABLE = re.compile(r"\$\{([A-Z_]+)(:[-?])?([^}]*)\}")


def made_variables() -> set[str]:
    """What ``deploy/new-secrets.sh`` writes into ``compose.env``."""
    return {key.upper().replace("-", "_") for key in SECRET_KEYS - {"secret.key"}} | {"SECRET_KEY_FILE"}


def problems(text: str, dockerfile: Dockerfile, *, folder: Path = COMPOSE.parent) -> list[str]:
    """Everything that is wrong, one line each.

    Args:
        text: the Compose file.
        dockerfile: what its images are built from.
        folder: where relative paths begin.
    """
    (document,) = load(text)
    found = list(_variables(text))
    for name, service in document["services"].items():
        found += [f"{name}: {problem}" for problem in _of_service(name, service, document, dockerfile, folder)]
    found += [f"nothing uses the volume {name}" for name in sorted(set(document["volumes"]) - _used_volumes(document))]
    found += [f"there is no service {name}" for name in sorted(set(CALLS) - set(document["services"]))]
    return found


def overlay_problems(text: str, base: str) -> list[str]:
    """What is wrong with the file for OSS that is laid over the Compose file ``base``, one line each."""
    (document,), (beneath,) = load(text), load(base)
    found = list(_variables(text))
    if list(document) != ["services"] or list(document["services"]) != ["dataset"]:
        return [*found, "changes more than the dataset service"]
    service = document["services"]["dataset"]
    found += [f"sets {key}" for key in sorted(set(service) - {"environment", "volumes", "networks"})]
    found += setting_problems("dataset", service["environment"])
    found += [f"there is no network {name}" for name in service["networks"] if name not in beneath["networks"]]
    mounts = [volume.split(":")[-2:] for volume in service["volumes"]]
    found += [f"may write to {place[0]}" for place in mounts if place[-1] != "ro"]
    for key, value in service["environment"].items():
        if not any(value.startswith(f"{place[0]}/") for place in mounts):
            found.append(f"{key} is {value}, where nothing is mounted")
    return found


def _variables(text: str) -> Iterator[str]:
    for name, kind, _ in sorted(set(_VARIABLE.findall(text))):
        if kind == ":-":
            continue
        if kind != ":?":
            yield f"${{{name}}} is empty where nobody sets it; write ${{{name}:?…}} or a default"
        elif name not in made_variables() | GIVEN_BY_OPERATOR:
            yield f"nobody makes {name}"


def _of_service(name: str, service: dict[str, Any], document: dict[str, Any], dockerfile: Dockerfile, folder: Path) -> Iterator[str]:
    yield from _of_image(service, dockerfile, folder)
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"] or service.get("security_opt") != ["no-new-privileges:true"]:
        yield "may write to its root, keeps capabilities or may gain privileges"
    if (service.get("ports") is not None) != (name == "gateway"):
        yield "publishes ports" if name != "gateway" else "is not published"
    if document["networks"]["inside"] != {"internal": True} or (service["networks"] != ["inside"] and name != "gateway"):
        yield "has a way out of this machine"
    yield from (
        f"depends on {peer}, which has no health check"
        for peer in service.get("depends_on", {})
        if not _checked(peer, document, dockerfile)
    )
    for volume in service.get("volumes", []):
        source = volume.rpartition(":")[0].rpartition(":")[0] if volume.endswith(":ro") else volume.rpartition(":")[0]
        if source.startswith(".") and not (folder / source).is_file():
            yield f"there is no {source}"
        elif not source.startswith((".", "$")) and source not in document["volumes"]:
            yield f"the volume {source} is not declared"
    if name in SETTINGS:
        yield from _of_process(name, service, document, dockerfile)


def _of_image(service: dict[str, Any], dockerfile: Dockerfile, folder: Path) -> Iterator[str]:
    _, _, tag = service["image"].rpartition("/")[2].partition(":")
    if not tag or tag == "latest":
        yield f"the image {service['image']} names no version"
    user = str(service.get("user", ""))
    if "build" not in service:
        if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user):
            yield "runs as root"
        return
    target = service["build"]["target"]
    if target not in dockerfile.targets():
        yield f"the Dockerfile has no target {target}"
    if (folder / service["build"]["context"]).resolve() != CHECKOUT or not (CHECKOUT / service["build"]["dockerfile"]).is_file():
        yield "is not built from the checkout"
    if user.startswith("0") or user == "root":
        yield "runs as root"


def _of_process(name: str, service: dict[str, Any], document: dict[str, Any], dockerfile: Dockerfile) -> Iterator[str]:
    env: dict[str, str] = service["environment"]
    # A variable of the shell may be anything that its default may be.
    literal = {key: _VARIABLE.sub(lambda match: match[3] if match[2] == ":-" else "x", str(value)) for key, value in env.items()}
    yield from setting_problems(name, literal)
    port = dockerfile.stages[name].port
    if env.get(f"{PREFIX}{name.upper()}_ADDRESS") != f"0.0.0.0:{port}":
        yield f"does not listen at {port}, as its image does"
    for peer in CALLS[name]:
        key = {"nats": f"{PREFIX}NATS_URL", "postgresql": f"{PREFIX}{name.upper()}_DATABASE_URL"}.get(
            peer, f"{PREFIX}{peer.upper()}_ADDRESS"
        )
        value = literal.get(key, "")
        url = urlsplit(value if "//" in value else f"//{value}")
        expected = 5432 if peer == "postgresql" else dockerfile.stages[peer].port
        if url.hostname != peer or (url.port or 5432) != expected:
            yield f"{key} is {env.get(key)}, which does not lead to {peer}"
        elif not set(service["networks"]) & set(document["services"].get(peer, {}).get("networks", [])):
            yield f"shares no network with {peer}"
    secrets = {secret["target"]: secret["source"] for secret in service.get("secrets", [])}
    if secrets.get(f"{HOME}/secret.key") not in document["secrets"]:
        yield "does not find the installation's key in its home"
    writable = [str(one).partition(":")[0] for one in service.get("tmpfs", [])] + [
        str(one).partition(":")[2] for one in service.get("volumes", [])
    ]
    if HOME not in writable or "/tmp" not in writable:
        yield "has no home or no /tmp to write to"
    grace = float(literal.get(f"{PREFIX}GRACE_SECONDS", "10"))
    if float(str(service.get("stop_grace_period", "10s")).removesuffix("s")) < 3 * grace + 10:
        yield "may be killed before its grace, three times, is over"


def _checked(name: str, document: dict[str, Any], dockerfile: Dockerfile) -> bool:
    service = document["services"].get(name, {})
    target = service.get("build", {}).get("target")
    return "healthcheck" in service or (target in dockerfile.stages and "HEALTHCHECK" in dockerfile.stages[target].single)


def _used_volumes(document: dict[str, Any]) -> set[str]:
    return {volume.partition(":")[0] for service in document["services"].values() for volume in service.get("volumes", [])}
