"""What no schema sees: that the objects of one installation fit each other and our code."""

import importlib.util
import re
from collections.abc import Callable, Collection, Iterator
from urllib.parse import urlsplit

from tests.deploy.documents import Manifests, Workload
from tests.deploy.known import PREFIX, SETTINGS, setting_problems, unknown_settings
from tests.deploy.network import network_problems
from tests.deploy.references import reference_problems

Check = Callable[[Manifests], Iterator[str]]

_VARIABLE = re.compile(r"\$\(([A-Z0-9_]+)\)")
_SERVICE_URLS = ("_ADDRESS", "_URL")


def problems(manifests: Manifests, *, given_claims: Collection[str] = ()) -> list[str]:
    """Everything that is wrong, one line each.

    Args:
        manifests: of one installation.
        given_claims: claims that the operator made.
    """
    found = [problem for check in CHECKS for problem in check(manifests)]
    return found + list(reference_problems(manifests, given_claims)) + list(network_problems(manifests))


def _names(manifests: Manifests) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for document in manifests.documents:
        key = (document["kind"], document["metadata"]["name"])
        if key in seen:
            yield f"{key[0]} {key[1]} is there twice"
        seen.add(key)


def _services(manifests: Manifests) -> Iterator[str]:
    for name, service in manifests.of("Service").items():
        selected = manifests.selected(service["spec"]["selector"])
        if len(selected) != 1:
            yield f"Service {name} selects {[workload.name for workload in selected]}, not one workload"
            continue
        ports = selected[0].port_numbers()
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            if target not in ports and target not in ports.values():
                yield f"Service {name}: {selected[0].name} has no port {target}"


def _selectors(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        selected = manifests.selected(workload.spec["selector"]["matchLabels"])
        if [one.name for one in selected] != [workload.name]:
            yield f"{workload.name} selects {[one.name for one in selected]}, not itself alone"


def _probes(manifests: Manifests) -> Iterator[str]:
    for workload, container in manifests.containers():
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(kind)
            if probe is None:
                yield f"{workload.name}: {container['name']} has no {kind}"
            elif "grpc" in probe and probe["grpc"]["port"] not in ports.values():
                yield f"{workload.name}: {kind} asks port {probe['grpc']['port']}, which {container['name']} does not have"
            elif "httpGet" in probe and probe["httpGet"]["port"] not in (*ports, *ports.values()):
                yield f"{workload.name}: {kind} asks port {probe['httpGet']['port']}, which {container['name']} does not have"


def _security(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        pod = workload.pod.get("securityContext", {})
        if not pod.get("runAsNonRoot") or not pod.get("runAsUser"):
            yield f"{workload.name} may run as root"
        if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{workload.name} has no seccomp profile"
        if workload.pod.get("automountServiceAccountToken", True):
            yield f"{workload.name} gets a token of the cluster's API"
        if workload.pod.get("hostNetwork") or workload.pod.get("hostPID") or workload.pod.get("hostIPC"):
            yield f"{workload.name} shares a namespace with its node"
    for workload, container in manifests.containers():
        context = container.get("securityContext", {})
        if context.get("privileged") or context.get("allowPrivilegeEscalation", True):
            yield f"{workload.name}: {container['name']} may gain privileges"
        if not context.get("readOnlyRootFilesystem"):
            yield f"{workload.name}: {container['name']} may write to its root"
        if context.get("capabilities", {}).get("drop") != ["ALL"] or context["capabilities"].get("add"):
            yield f"{workload.name}: {container['name']} keeps capabilities"
        if context.get("runAsUser") == 0:
            yield f"{workload.name}: {container['name']} runs as root"


def _images(manifests: Manifests) -> Iterator[str]:
    for workload, container in manifests.containers():
        _, _, tag = container["image"].rpartition("/")[2].partition(":")
        if not tag or tag == "latest":
            yield f"{workload.name}: the image {container['image']} names no version"


def _resources(manifests: Manifests) -> Iterator[str]:
    for workload, container in manifests.containers():
        resources = container.get("resources", {})
        for part, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if name not in resources.get(part, {}):
                yield f"{workload.name}: {container['name']} has no {name} in its {part}"


def _commands(manifests: Manifests) -> Iterator[str]:
    for workload, container in manifests.containers():
        command = container.get("command", [])
        if command[:2] == ["python", "-m"] and not _exists(command[2]):
            yield f"{workload.name}: there is no module {command[2]}"
        if workload.component in SETTINGS and command[:2] != ["python", "-m"]:
            yield f"{workload.name} does not start with `python -m`"


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _settings(manifests: Manifests) -> Iterator[str]:
    for workload, container in manifests.containers():
        names = [entry["name"] for entry in container.get("env", [])]
        yield from (f"{workload.name}: {name} is set twice" for name in sorted({name for name in names if names.count(name) > 1}))
        for position, entry in enumerate(container.get("env", [])):
            unknown = set(_VARIABLE.findall(str(entry.get("value", "")))) - set(names[:position])
            yield from (f"{workload.name}: {entry['name']} uses $({name}), which is not set before it" for name in sorted(unknown))
        if workload.component in SETTINGS:
            env = manifests.environment(container)
            yield from setting_problems(workload.component, env)
            yield from unknown_settings(workload.component, {name: None for name in names if name not in env})


def _addresses(manifests: Manifests) -> Iterator[str]:
    services = manifests.of("Service")
    for workload, container in manifests.containers():
        if workload.component not in SETTINGS:
            continue
        env = manifests.environment(container)
        own = f"{PREFIX}{workload.component.upper()}_ADDRESS"
        if env.get(own) not in {f"0.0.0.0:{port}" for port in workload.port_numbers().values()}:
            yield f"{workload.name}: {own} is {env.get(own)}, which is none of its ports"
        for name, value in env.items():
            if name == own or not name.startswith(PREFIX) or not name.endswith(_SERVICE_URLS):
                continue
            url = urlsplit(value if "//" in value else f"//{value}")
            if url.hostname is None or "." in url.hostname:
                continue
            ports = [port["port"] for port in services.get(url.hostname, {}).get("spec", {}).get("ports", [])]
            if url.port not in ports:
                yield f"{workload.name}: {name} leads to {url.hostname}:{url.port}, where no Service listens"
        for peer in SETTINGS:
            if peer not in (workload.component, "gateway") and f"{PREFIX}{peer.upper()}_ADDRESS" not in env:
                yield f"{workload.name} is not told where {peer} listens"


def _replicas(manifests: Manifests) -> Iterator[str]:
    scaled = {document["spec"]["scaleTargetRef"]["name"] for document in manifests.of("HorizontalPodAutoscaler").values()}
    budgets = [document["spec"]["selector"]["matchLabels"] for document in manifests.of("PodDisruptionBudget").values()]
    for workload in manifests.workloads():
        num = workload.spec.get("replicas")
        is_alone = num == 1 and workload.spec.get("strategy", {}).get("type") == "Recreate"
        for claim in sorted(_claims_for_one(manifests, workload)) if not is_alone else ():
            yield f"{workload.name} must be alone: {claim} is for one pod"
        if (num is None) != (workload.name in scaled):
            yield f"{workload.name} has {num} replicas {'and' if workload.name in scaled else 'and no'} autoscaler"
        several = workload.name in scaled or (num or 1) > 1
        if several != any(labels.items() <= workload.labels.items() for labels in budgets):
            yield f"{workload.name} has {'no' if several else 'one pod and a'} disruption budget"


def _endings(manifests: Manifests) -> Iterator[str]:
    for workload, container in manifests.containers():
        if workload.component in SETTINGS:
            grace = float(manifests.environment(container).get("INKWRIGHT_GRACE_SECONDS", "10"))
            if workload.pod.get("terminationGracePeriodSeconds", 30) < 3 * grace + 10:
                yield f"{workload.name} may be killed before its {grace:.0f} s of grace, three times, are over"


def _key(manifests: Manifests) -> Iterator[str]:
    for workload, container in manifests.containers():
        if workload.component in SETTINGS:
            mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
            key = mounts.get("/var/lib/inkwright/secret.key")
            if "/var/lib/inkwright" not in mounts or "/tmp" not in mounts:
                yield f"{workload.name} has no home or no /tmp to write to"
            if key is None or not _is_the_key(workload, key["name"]):
                yield f"{workload.name} does not find the installation's key in its home"


def _claims_for_one(manifests: Manifests, workload: Workload) -> set[str]:
    """Claims of a workload that the pods of one machine alone may use, as far as they are made here."""
    made = {name: claim["spec"]["accessModes"] for name, claim in manifests.of("PersistentVolumeClaim").items()}
    used = {volume.get("persistentVolumeClaim", {}).get("claimName") for volume in workload.pod.get("volumes", [])}
    return {name for name, modes in made.items() if name in used and "ReadWriteMany" not in modes}


def _is_the_key(workload: Workload, volume: str) -> bool:
    return any(
        one["name"] == volume and {"key": "secret.key", "path": "secret.key"} in one.get("secret", {}).get("items", [])
        for one in workload.pod.get("volumes", [])
    )


CHECKS: tuple[Check, ...] = (
    _names,
    _services,
    _selectors,
    _probes,
    _security,
    _images,
    _resources,
    _commands,
    _settings,
    _addresses,
    _replicas,
    _endings,
    _key,
)
