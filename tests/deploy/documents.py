"""YAML as it is meant: a key that stands twice is an error."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    pass


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    doubled = {key for key in keys if keys.count(key) > 1}
    if doubled:
        raise yaml.constructor.ConstructorError(problem=f"{sorted(doubled)} twice", problem_mark=node.start_mark)
    loader.flatten_mapping(node)
    return {loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML text, empty ones left out.

    Raises:
        yaml.YAMLError: not YAML, or a key stands twice.
    """
    return [document for document in yaml.load_all(text, Loader=_Loader) if document]


@dataclass(frozen=True)
class Workload:
    """A Deployment or StatefulSet."""

    document: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the object."""
        return str(self.document["metadata"]["name"])

    @property
    def component(self) -> str:
        """Which part of the installation it is."""
        return str(self.labels.get("app.kubernetes.io/component", self.name))

    @property
    def spec(self) -> dict[str, Any]:
        """Of the object."""
        spec: dict[str, Any] = self.document["spec"]
        return spec

    @property
    def pod(self) -> dict[str, Any]:
        """The pod's spec."""
        pod: dict[str, Any] = self.spec["template"]["spec"]
        return pod

    @property
    def labels(self) -> dict[str, str]:
        """Of its pods."""
        labels: dict[str, str] = self.spec["template"]["metadata"]["labels"]
        return labels

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Of its pods."""
        containers: list[dict[str, Any]] = self.pod["containers"]
        return containers

    def port_numbers(self) -> dict[str, int]:
        """Ports of all containers by name."""
        return {port["name"]: port["containerPort"] for container in self.containers for port in container.get("ports", [])}


@dataclass(frozen=True)
class Manifests:
    """Everything that one set of values becomes."""

    documents: list[dict[str, Any]]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The objects of a kind by name."""
        return {document["metadata"]["name"]: document for document in self.documents if document["kind"] == kind}

    def workloads(self) -> list[Workload]:
        """Whatever has pods."""
        return [Workload(document) for kind in ("Deployment", "StatefulSet") for document in self.of(kind).values()]

    def selected(self, labels: Mapping[str, str]) -> list[Workload]:
        """The workloads whose pods have all of these labels."""
        return [workload for workload in self.workloads() if labels.items() <= workload.labels.items()]

    def config(self, name: str) -> dict[str, str]:
        """The data of a ConfigMap, empty when there is none."""
        data: dict[str, str] = self.of("ConfigMap").get(name, {}).get("data", {})
        return data

    def containers(self) -> Iterator[tuple[Workload, dict[str, Any]]]:
        """Every container with its workload."""
        for workload in self.workloads():
            for container in workload.containers:
                yield workload, container

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """The literal variables of a container, those of its ConfigMaps included."""
        env: dict[str, str] = {}
        for source in container.get("envFrom", []):
            env |= self.config(source.get("configMapRef", {}).get("name", ""))
        return env | {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
