"""The checks of chart, Compose file and Dockerfile find what they are for: each mistake is planted once."""

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import probe
from deploy.images.pip_options import options_of
from libs.runtime.settings import CHECKOUT
from tests.deploy import compose, dockerfile
from tests.deploy.crosscheck import problems
from tests.deploy.documents import Manifests, load
from tests.deploy.example import installation
from tests.deploy.known import SECRET_KEYS

Plant = Callable[[Manifests], Any]

CLEAN = installation()


def test_an_installation_without_a_mistake_has_no_problems() -> None:
    assert problems(CLEAN) == []


def _deployment(manifests: Manifests, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifests.of("Deployment")[name]["spec"]
    return spec


def _pod(manifests: Manifests, name: str) -> dict[str, Any]:
    pod: dict[str, Any] = _deployment(manifests, name)["template"]["spec"]
    return pod


def _container(manifests: Manifests, name: str) -> dict[str, Any]:
    container: dict[str, Any] = _pod(manifests, name)["containers"][0]
    return container


def _spec(manifests: Manifests, kind: str, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifests.of(kind)[name]["spec"]
    return spec


def _drop(manifests: Manifests, kind: str, name: str) -> None:
    manifests.documents.remove(manifests.of(kind)[name])


def _set_env(manifests: Manifests, service: str, name: str, value: str) -> None:
    _container(manifests, service)["env"].append({"name": name, "value": value})


MISTAKES: dict[str, tuple[Plant, str]] = {
    "an object twice": (lambda m: m.documents.append(m.of("Service")["nats"]), "Service nats is there twice"),
    "a selector for nobody": (lambda m: _spec(m, "Service", "dataset").update(selector={"a": "b"}), "Service dataset selects [], not one"),
    "a selector for two": (
        lambda m: _deployment(m, "labeling")["template"]["metadata"]["labels"].update({"app.kubernetes.io/component": "dataset"}),
        "Service dataset selects ['dataset', 'labeling'], not one",
    ),
    "a workload that selects others": (lambda m: _deployment(m, "trainer")["selector"].update(matchLabels={}), "trainer selects ["),
    "a target port": (lambda m: _spec(m, "Service", "dataset")["ports"][0].update(targetPort="grpc"), "dataset has no port grpc"),
    "a probe's number": (lambda m: _container(m, "dataset")["livenessProbe"]["grpc"].update(port=1), "livenessProbe asks port 1"),
    "a probe's name": (lambda m: _container(m, "dataset")["readinessProbe"]["httpGet"].update(port="x"), "readinessProbe asks port x"),
    "no probe": (lambda m: _container(m, "dataset").pop("startupProbe"), "dataset has no startupProbe"),
    "root": (lambda m: _pod(m, "nats")["securityContext"].update(runAsUser=0), "nats may run as root"),
    "root in a container": (lambda m: _container(m, "nats")["securityContext"].update(runAsUser=0), "nats runs as root"),
    "no seccomp": (lambda m: _pod(m, "nats")["securityContext"].pop("seccompProfile"), "no seccomp"),
    "a token of the cluster": (lambda m: _pod(m, "gateway").pop("automountServiceAccountToken"), "gateway gets a token"),
    "the node's network": (lambda m: _pod(m, "gateway").update(hostNetwork=True), "shares a namespace"),
    "more privileges": (lambda m: _container(m, "gateway")["securityContext"].update(allowPrivilegeEscalation=True), "gain privileges"),
    "a writable root": (lambda m: _container(m, "gateway")["securityContext"].pop("readOnlyRootFilesystem"), "write to its root"),
    "capabilities": (lambda m: _container(m, "gateway")["securityContext"]["capabilities"].update(add=["NET_ADMIN"]), "capabilities"),
    "the latest image": (lambda m: _container(m, "trainer").update(image="host:5000/trainer:latest"), "names no version"),
    "an image without tag": (lambda m: _container(m, "trainer").update(image="host:5000/trainer"), "names no version"),
    "no memory limit": (lambda m: _container(m, "trainer")["resources"].pop("limits"), "no memory in its limits"),
    "a module": (
        lambda m: _container(m, "dataset").update(command=["python", "-m", "services.datasets.main"]),
        "no module services.datasets",
    ),
    "a shell": (lambda m: _container(m, "dataset").update(command=["sh"]), "does not start with"),
    "an unknown setting": (lambda m: _set_env(m, "dataset", "INKWRIGHT_ROOT", "/roots"), "INKWRIGHT_ROOT is no setting of DatasetSettings"),
    "another's setting": (lambda m: m.config("settings").update(INKWRIGHT_TRAINER_WORKERS="2"), "no setting of LabelingSettings"),
    "a setting's value": (
        lambda m: _set_env(m, "trainer", "INKWRIGHT_TRAINER_WORKERS", "-1"),
        "INKWRIGHT_TRAINER_WORKERS: Input should be",
    ),
    "a setting twice": (lambda m: _set_env(m, "dataset", "NATS_TOKEN", "x"), "NATS_TOKEN is set twice"),
    "an unknown secret setting": (
        lambda m: _container(m, "gateway")["env"].append({"name": "INKWRIGHT_TOKENS", "valueFrom": {}}),
        "INKWRIGHT_TOKENS is no setting of GatewaySettings",
    ),
    "a variable too late": (lambda m: _container(m, "dataset")["env"].reverse(), "uses $(NATS_TOKEN), which is not set before"),
    "a peer's port": (lambda m: m.config("settings").update(INKWRIGHT_DATASET_ADDRESS="dataset:50052"), "dataset:50052, where no Service"),
    "a peer's name": (lambda m: m.config("settings").update(INKWRIGHT_DATASET_ADDRESS="data:50051"), "data:50051, where no Service"),
    "no peer": (lambda m: m.config("settings").pop("INKWRIGHT_TRAINER_ADDRESS"), "gateway is not told where trainer listens"),
    "its own port": (lambda m: _container(m, "dataset")["env"][0].update(value="0.0.0.0:1"), "which is none of its ports"),
    "two trainers": (lambda m: _deployment(m, "trainer").update(replicas=2), "trainer must be alone: trainer is for one pod"),
    "overlapping trainers": (lambda m: _deployment(m, "trainer").update(strategy={"type": "RollingUpdate"}), "trainer must be alone"),
    "a scaled number": (lambda m: _deployment(m, "gateway").update(replicas=2), "gateway has 2 replicas and autoscaler"),
    "no budget": (lambda m: _drop(m, "PodDisruptionBudget", "gateway"), "gateway has no disruption budget"),
    "a useless budget": (
        lambda m: _spec(m, "PodDisruptionBudget", "gateway")["selector"].update(matchLabels={"app.kubernetes.io/component": "nats"}),
        "nats has one pod and a disruption budget",
    ),
    "a budget for nobody": (
        lambda m: _spec(m, "PodDisruptionBudget", "gateway").update(selector={"matchLabels": {"a": "b"}}),
        "does not select",
    ),
    "an autoscaler of nothing": (
        lambda m: _spec(m, "HorizontalPodAutoscaler", "gateway")["scaleTargetRef"].update(name="x"),
        "no Deployment x",
    ),
    "an autoscaler's range": (lambda m: _spec(m, "HorizontalPodAutoscaler", "gateway").update(maxReplicas=1), "at least 2, at most 1"),
    "a short end": (lambda m: _pod(m, "dataset").update(terminationGracePeriodSeconds=30), "may be killed before"),
    "no key": (lambda m: _container(m, "inference")["volumeMounts"].pop(1), "does not find the installation's key"),
    "another key": (
        lambda m: _pod(m, "inference")["volumes"][1]["secret"]["items"][0].update(path="key"),
        "does not find the installation's key",
    ),
    "no /tmp": (lambda m: _container(m, "inference")["volumeMounts"].pop(2), "no home or no /tmp"),
    "a secret nobody makes": (
        lambda m: _container(m, "dataset")["env"][1]["valueFrom"]["secretKeyRef"].update(key="nats-password"),
        "nobody makes the key nats-password",
    ),
    "two secrets": (
        lambda m: _container(m, "dataset")["env"][1]["valueFrom"]["secretKeyRef"].update(name="other"),
        "several Secrets, ['inkwright', 'other']",
    ),
    "a secret in the open": (lambda m: m.documents.append({"kind": "Secret", "metadata": {"name": "s"}}), "a Secret among the manifests"),
    "no settings": (lambda m: _drop(m, "ConfigMap", "settings"), "there is no ConfigMap settings"),
    "no claim": (lambda m: _drop(m, "PersistentVolumeClaim", "trainer"), "there is no claim trainer"),
    "no account": (lambda m: _drop(m, "ServiceAccount", "inkwright"), "there is no ServiceAccount inkwright"),
    "no volume": (lambda m: _pod(m, "dataset")["volumes"].pop(2), "dataset mounts tmp, which is no volume"),
    "a volume nobody mounts": (lambda m: _pod(m, "dataset")["volumes"].append({"name": "more"}), "nothing mounts the volume more"),
    "an ingress to nowhere": (lambda m: _drop(m, "Service", "gateway"), "Ingress inkwright: no Service gateway"),
    "a pod without policy": (lambda m: _drop(m, "NetworkPolicy", "nats"), "nats is covered by []"),
    "half a policy": (lambda m: _spec(m, "NetworkPolicy", "nats").update(policyTypes=["Ingress"]), "both directions"),
    "a way nobody needs": (
        lambda m: _spec(m, "NetworkPolicy", "dataset")["ingress"][0]["from"].append(
            {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "inference"}}}
        ),
        "inference to dataset is open and nobody calls it",
    ),
    "a way that ends": (
        lambda m: _spec(m, "NetworkPolicy", "trainer")["ingress"].clear(),
        "inference to trainer leaves by [(50053, 50053)] and is let in at []",
    ),
    "another port": (
        lambda m: [
            rule["ports"].append({"protocol": "TCP", "port": 22})
            for rule in (_spec(m, "NetworkPolicy", "gateway")["egress"][1], _spec(m, "NetworkPolicy", "dataset")["ingress"][0])
        ],
        "gateway to dataset is open at [(22, 22), (50051, 50051)], called is 50051",
    ),
    "no way to instances": (
        lambda m: (
            [rule["ports"].pop() for rule in _spec(m, "NetworkPolicy", "inference")["ingress"]]
            + [
                rule["ports"].pop()
                for name in ("gateway", "labeling")
                for rule in _spec(m, "NetworkPolicy", name)["egress"]
                if len(rule["ports"]) > 1
            ]
        ),
        "gateway to inference does not open the ports of instances",
    ),
    "the whole world": (
        lambda m: _spec(m, "NetworkPolicy", "dataset")["egress"].append({"ports": [{"port": 443}]}),
        "reach anybody at [53, 443]",
    ),
    "everybody": (
        lambda m: _spec(m, "NetworkPolicy", "dataset")["ingress"].append({"ports": [{"port": 50051}]}),
        "dataset lets in everybody",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_manifests_is_found(mistake: str) -> None:
    plant, expected = MISTAKES[mistake]
    manifests = Manifests(copy.deepcopy(CLEAN.documents))
    plant(manifests)
    found = problems(manifests)
    assert any(expected in problem for problem in found), found


def test_a_claim_of_the_operator_and_no_policies_are_no_mistakes() -> None:
    manifests = Manifests([one for one in copy.deepcopy(CLEAN.documents) if one["kind"] != "NetworkPolicy"])
    _drop(manifests, "PersistentVolumeClaim", "trainer")
    assert problems(manifests, given_claims=["trainer"]) == []


def test_a_key_that_stands_twice_is_no_yaml() -> None:
    with pytest.raises(yaml.YAMLError, match="'a'"):
        load("a: 1\na: 2\n")


IMAGES = dockerfile.DOCKERFILE.read_text()
COMPOSE = compose.COMPOSE.read_text()


OVERLAY = compose.OSS_OVERLAY.read_text()


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ("services:", "services:", []),
        ("INKWRIGHT_OSS_CONNECTIONS", "INKWRIGHT_OSS", ["INKWRIGHT_OSS"]),
        ("/run/secrets/oss/oss.toml", "/run/oss.toml", ["INKWRIGHT_OSS_CONNECTIONS is /run/oss.toml, where nothing is mounted"]),
        (":ro", ":rw", ["may write to /run/secrets/oss"]),
        ("outside]", "there]", ["there is no network there"]),
        ("    networks", "    privileged: true\n    networks", ["sets privileged"]),
        ("  dataset:", "  gateway:", ["changes more than the dataset service"]),
    ],
)
def test_a_mistake_in_the_file_for_oss_is_found(good: str, bad: str, expected: list[str]) -> None:
    assert good in OVERLAY
    found = compose.overlay_problems(OVERLAY.replace(good, bad), COMPOSE)
    assert len(found) == len(expected), found
    assert all(said in problem for said, problem in zip(expected, found, strict=True))


def test_dockerfile_and_compose_file_have_no_problems() -> None:
    assert dockerfile.problems(dockerfile.parse(IMAGES)) == []
    assert compose.problems(COMPOSE, dockerfile.parse(IMAGES)) == []


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ("BASE=python:3.11-slim-bookworm", "BASE=python:latest", "names no version"),
        ("GPU_BASE=nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04", "GPU_BASE=nvidia/cuda", "names no version"),
        ("USER 10001:10001", "USER root", "runs as root"),
        ('ENTRYPOINT ["python", "-m", "gateway.main"]', "ENTRYPOINT python -m gateway.main", "no list"),
        ("services.labeling.main", "services.labelling.main", "labeling: starts"),
        ("EXPOSE 50053", "EXPOSE 50054", "trainer: exposes 50054 and does not listen there"),
        ('"deploy.probe", "dataset"', '"deploy.probe", "labeling"', "dataset: its health check asks another process"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "another signal"),
        ("INKWRIGHT_HOME=", "INKWRIGHT_HOUSE=", "INKWRIGHT_HOUSE is no setting"),
        ("FROM process AS labeling", "FROM process AS labelling", "there is no target labeling"),
        (
            "FROM ${GPU_BASE} AS process-gpu",
            "FROM ${GPU_BASE} AS process-gpu\nENV INKWRIGHT_LOG_LEVEL=debug",
            "trainer-gpu is not told what",
        ),
    ],
)
def test_a_mistake_in_the_dockerfile_is_found(good: str, bad: str, expected: str) -> None:
    assert good in IMAGES
    found = dockerfile.problems(dockerfile.parse(IMAGES.replace(good, bad)))
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ("target: dataset}", "target: data}", "dataset: the Dockerfile has no target data"),
        ("postgres:17.6", "postgres:latest", "postgresql: the image postgres:latest names no version"),
        ('user: "999:999"', 'user: "0:0"', "postgresql: runs as root"),
        ("read_only: true", "read_only: false", "may write to its root"),
        ("    networks: [inside, outside]\n    ports:", "    networks: [inside, outside]\n    expose:", "gateway: is not published"),
        ("inside: {internal: true}", "inside: {internal: false}", "has a way out"),
        ("./nats.conf:", "./nats-server.conf:", "nats: there is no ./nats-server.conf"),
        ("      - nats:/var/lib/inkwright", "      - bus:/var/lib/inkwright", "nats: the volume bus is not declared"),
        ('INKWRIGHT_GRACE_SECONDS: "10"', 'INKWRIGHT_GRACE_SECONDS: "20"', "killed before its grace"),
        ('INKWRIGHT_GRACE_SECONDS: "10"', 'INKWRIGHT_GRACE: "10"', "INKWRIGHT_GRACE is no setting"),
        ('INKWRIGHT_DATASET_ADDRESS: "dataset:50051"', 'INKWRIGHT_DATASET_ADDRESS: "dataset:50052"', "does not lead to dataset"),
        ('INKWRIGHT_DATASET_ADDRESS: "0.0.0.0:50051"', 'INKWRIGHT_DATASET_ADDRESS: "127.0.0.1:50051"', "does not listen at 50051"),
        ("inkwright_trainer@postgresql/", "inkwright_trainer@database/", "does not lead to postgresql"),
        ("target: /var/lib/inkwright/secret.key", "target: /run/secret.key", "does not find the installation's key"),
        ("    tmpfs: [/tmp]\n", "", "no home or no /tmp"),
        ("${TOKEN:?made by deploy/new-secrets.sh}", "${TOKEN}", "${TOKEN} is empty where nobody sets it"),
        ("${TOKEN:?made by deploy/new-secrets.sh}", "${ADMIN_TOKEN:?made by deploy/new-secrets.sh}", "nobody makes ADMIN_TOKEN"),
        ("  nats: {}\n", "  nats: {}\n  more: {}\n", "nothing uses the volume more"),
        ("  labeling:\n", "  labels:\n", "there is no service labeling"),
    ],
)
def test_a_mistake_in_the_compose_file_is_found(good: str, bad: str, expected: str) -> None:
    assert good in COMPOSE
    found = compose.problems(COMPOSE.replace(good, bad), dockerfile.parse(IMAGES))
    assert any(expected in problem for problem in found), found


def test_secrets_are_made_once_and_are_those_that_are_wanted(tmp_path: Path) -> None:

    script, folder = CHECKOUT / "deploy" / "new-secrets.sh", tmp_path / "secrets"
    subprocess.run([script, folder], check=True)
    assert {path.name for path in (folder / "keys").iterdir()} == SECRET_KEYS
    assert len((folder / "keys" / "secret.key").read_bytes()) == 32
    written = dict(line.split("=", 1) for line in (folder / "compose.env").read_text().splitlines())
    assert set(written) == compose.made_variables()
    assert written["SECRET_KEY_FILE"] == str(folder / "keys" / "secret.key")
    assert written["TOKEN"] == (folder / "keys" / "token").read_text()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert subprocess.run([script, folder], check=False, capture_output=True).returncode != 0


def test_probe_of_nothing_is_refused_and_of_a_silent_port_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKWRIGHT_DATASET_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("INKWRIGHT_GATEWAY_ADDRESS", "127.0.0.1:1")
    assert probe.main(["nats"]) == 2
    assert probe.main(["dataset"]) == 1
    assert probe.main(["gateway"]) == 1


def test_a_build_is_told_what_pip_here_is_told(tmp_path: Path) -> None:
    wheels, index = tmp_path / "wheels", tmp_path / "index" / "simple"
    wheels.mkdir()
    index.mkdir(parents=True)
    listed = f"""\
:env:.find-links='{wheels}'
global.find-links='elsewhere'
global.index-url='https://packages.example.org/simple'
global.extra-index-url='file://{index} https://more.example.org'
install.no-compile='yes'
"""
    assert options_of(listed) == [
        f"--build-arg=PIP_FIND_LINKS={wheels}",
        "--build-arg=PIP_INDEX_URL=https://packages.example.org/simple",
        f"--build-arg=PIP_EXTRA_INDEX_URL=file://{index} https://more.example.org",
        f"--volume={index.parent}:{index.parent}:ro",
        f"--volume={wheels}:{wheels}:ro",
    ]
