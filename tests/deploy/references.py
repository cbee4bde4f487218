"""Names that one object gives for another: each must be there."""

from collections.abc import Collection, Iterator
from typing import Any

from tests.deploy.documents import Manifests, Workload
from tests.deploy.known import SECRET_KEYS


def reference_problems(manifests: Manifests, given_claims: Collection[str]) -> Iterator[str]:
    """References that lead nowhere.

    Args:
        manifests: of one installation.
        given_claims: claims that the operator made.
    """
    claims = {*manifests.of("PersistentVolumeClaim"), *given_claims}
    secrets: set[str] = set()
    for workload in manifests.workloads():
        secrets |= {name for name, _ in _secret_keys(workload)}
        yield from _of_workload(manifests, workload, claims)
    if len(secrets) > 1:
        yield f"there are several Secrets, {sorted(secrets)}, where one is made"
    yield from _of_scaling(manifests)
    yield from _of_ingress(manifests)
    if manifests.of("Secret"):
        yield f"{sorted(manifests.of('Secret'))}: a Secret among the manifests; they are made apart"


def _of_workload(manifests: Manifests, workload: Workload, claims: Collection[str]) -> Iterator[str]:
    name, pod = workload.name, workload.pod
    if pod.get("serviceAccountName") not in manifests.of("ServiceAccount"):
        yield f"{name}: there is no ServiceAccount {pod.get('serviceAccountName')}"
    if workload.document["kind"] == "StatefulSet" and workload.spec["serviceName"] not in manifests.of("Service"):
        yield f"{name}: there is no Service {workload.spec['serviceName']}"
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    for volume in volumes.values():
        config, claim = volume.get("configMap", {}).get("name"), volume.get("persistentVolumeClaim", {}).get("claimName")
        if config is not None and config not in manifests.of("ConfigMap"):
            yield f"{name}: there is no ConfigMap {config}"
        if claim is not None and claim not in claims:
            yield f"{name}: there is no claim {claim}"
    templates = {template["metadata"]["name"] for template in workload.spec.get("volumeClaimTemplates", [])}
    mounted = {mount["name"] for container in workload.containers for mount in container.get("volumeMounts", [])}
    yield from (f"{name} mounts {volume}, which is no volume" for volume in sorted(mounted - set(volumes) - templates))
    yield from (f"{name}: nothing mounts the volume {volume}" for volume in sorted((set(volumes) | templates) - mounted))
    for container in workload.containers:
        for source in container.get("envFrom", []):
            if source.get("configMapRef", {}).get("name") not in manifests.of("ConfigMap"):
                yield f"{name}: there is no ConfigMap {source.get('configMapRef', {}).get('name')}"
    yield from (f"{name}: nobody makes the key {key} of the Secret" for _, key in _secret_keys(workload) if key not in SECRET_KEYS)


def _secret_keys(workload: Workload) -> Iterator[tuple[str, str]]:
    for container in workload.containers:
        for entry in container.get("env", []):
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            if reference is not None:
                yield reference["name"], reference["key"]
    for volume in workload.pod.get("volumes", []):
        # A Secret that is mounted whole is the operator's own: what it holds is not for us to know.
        secret = volume.get("secret", {})
        yield from ((secret["secretName"], item["key"]) for item in secret.get("items", ()))


def _of_scaling(manifests: Manifests) -> Iterator[str]:
    for name, scaler in manifests.of("HorizontalPodAutoscaler").items():
        target = scaler["spec"]["scaleTargetRef"]
        if target["name"] not in manifests.of(target["kind"]):
            yield f"HorizontalPodAutoscaler {name}: there is no {target['kind']} {target['name']}"
        if scaler["spec"]["minReplicas"] > scaler["spec"]["maxReplicas"]:
            yield f"HorizontalPodAutoscaler {name}: at least {scaler['spec']['minReplicas']}, at most {scaler['spec']['maxReplicas']}"
    for name, budget in manifests.of("PodDisruptionBudget").items():
        if len(manifests.selected(budget["spec"]["selector"]["matchLabels"])) != 1:
            yield f"PodDisruptionBudget {name} does not select one workload"


def _of_ingress(manifests: Manifests) -> Iterator[str]:
    for name, ingress in manifests.of("Ingress").items():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                if backend["port"].get("name") not in _port_names(manifests.of("Service").get(backend["name"])):
                    yield f"Ingress {name}: no Service {backend['name']} with a port {backend['port']}"


def _port_names(service: dict[str, Any] | None) -> list[str]:
    return [] if service is None else [port["name"] for port in service["spec"]["ports"]]
