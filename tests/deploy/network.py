"""Whether network policies let through what is called, and nothing else."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.deploy.documents import Manifests, Workload
from tests.deploy.known import CALLED_INSTANCES, CALLS

Ports = frozenset[tuple[int, int]]
"""Ranges of TCP ports, first and last."""
OSS_PORT = 443
NAMES_PORT = 53

_EVERY_PORT = {"port": 1, "endPort": 65535}


def network_problems(manifests: Manifests) -> Iterator[str]:
    """Where the policies and ``CALLS`` disagree; nothing where an installation goes without policies."""
    policies = manifests.of("NetworkPolicy")
    if not policies:
        return
    rules: dict[str, dict[str, Any]] = {}
    for workload in manifests.workloads():
        names = [name for name, policy in policies.items() if _selects(policy["spec"]["podSelector"], workload)]
        if len(names) != 1:
            yield f"{workload.name} is covered by {names}, not by one policy"
            continue
        rules[workload.name] = policies[names[0]]["spec"]
        if set(rules[workload.name]["policyTypes"]) != {"Ingress", "Egress"}:
            yield f"{names[0]} does not speak of both directions"
        yield from _to_everybody(manifests, workload, rules[workload.name])
    for caller in manifests.workloads():
        for callee in manifests.workloads():
            if caller.name in rules and callee.name in rules:
                yield from _between(caller, callee, rules[caller.name], rules[callee.name])


def _to_everybody(manifests: Manifests, workload: Workload, rules: dict[str, Any]) -> Iterator[str]:
    """Doors without a name on them: names are asked for anywhere, and what is outside is known by its port alone."""
    outside = {NAMES_PORT}
    for container in workload.containers:
        environment = manifests.environment(container)
        if "INKWRIGHT_OSS_CONNECTIONS" in environment:
            outside.add(OSS_PORT)
        for value in environment.values():
            url = urlsplit(value)
            if url.hostname is not None and "." in url.hostname and url.port is not None:
                outside.add(url.port)
    open_out = {port["port"] for rule in rules["egress"] if "to" not in rule for port in rule["ports"]}
    if open_out != outside and (open_out or rules["egress"]):
        yield f"network: {workload.name} may reach anybody at {sorted(open_out)}, it needs {sorted(outside)}"
    if any("from" not in rule for rule in rules["ingress"]) and workload.component != "gateway":
        yield f"network: {workload.name} lets in everybody"


def _between(caller: Workload, callee: Workload, caller_rules: dict[str, Any], callee_rules: dict[str, Any]) -> Iterator[str]:
    out = _ports(caller_rules["egress"], "to", callee)
    into = _ports(callee_rules["ingress"], "from", caller)
    way = f"{caller.component} to {callee.component}"
    wanted = callee.component in CALLS.get(caller.component, set())
    if not wanted and (out or into):
        yield f"network: {way} is open and nobody calls it"
    elif wanted and out != into:
        yield f"network: {way} leaves by {sorted(out)} and is let in at {sorted(into)}"
    elif wanted:
        yield from _exactly(way, out, caller, callee)


def _exactly(way: str, ports: Ports, caller: Workload, callee: Workload) -> Iterator[str]:
    named = callee.port_numbers()
    # Servers of one cluster meet at a port of their own; whoever else calls a part uses its first.
    port = named.get("cluster", 0) if caller.name == callee.name else next(iter(named.values()), 0)
    ranges = {one for one in ports if one[0] != one[1]}
    if (port, port) not in ports or ports - ranges != {(port, port)}:
        yield f"network: {way} is open at {sorted(ports)}, called is {port}"
    if bool(ranges) != (callee.component == CALLED_INSTANCES):
        yield f"network: {way} {'opens ports' if ranges else 'does not open the ports'} of instances"


def _ports(rules: list[dict[str, Any]], side: str, other: Workload) -> Ports:
    open_ports: set[tuple[int, int]] = set()
    for rule in rules:
        if any("podSelector" in peer and _selects(peer["podSelector"], other) for peer in rule.get(side, [])):
            open_ports |= {(port["port"], port.get("endPort", port["port"])) for port in rule.get("ports", [_EVERY_PORT])}
    return frozenset(open_ports)


def _selects(selector: dict[str, Any], workload: Workload) -> bool:
    labels: dict[str, str] = selector.get("matchLabels", {})
    return labels.items() <= workload.labels.items()
