"""What checks compare against: the settings classes, the modules that run, the secrets that are made, who calls whom."""

from collections.abc import Mapping

from pydantic import ValidationError

from gateway.settings import GatewaySettings
from libs.runtime.settings import ServiceSettings
from services.dataset.settings import DatasetSettings
from services.inference.settings import InferenceSettings
from services.labeling.settings import LabelingSettings
from services.trainer.settings import TrainerSettings

PREFIX = "INKWRIGHT_"
SETTINGS: dict[str, type[ServiceSettings]] = {
    kind.service: kind for kind in (DatasetSettings, LabelingSettings, TrainerSettings, InferenceSettings, GatewaySettings)
}
CALLS = {
    "gateway": {"dataset", "labeling", "trainer", "inference", "nats", "postgresql"},
    "labeling": {"dataset", "inference", "nats", "postgresql"},
    "trainer": {"dataset", "nats", "postgresql"},
    "inference": {"trainer", "nats", "postgresql"},
    "dataset": {"nats", "postgresql"},
    "nats": {"nats"},
    "postgresql": set[str](),
}
"""Of each process those it may reach; docs/architecture.md draws the same."""
CALLED_INSTANCES = "inference"
"""Whose other ports are called too: those of instances."""
SECRET_KEYS = {
    "secret.key",
    "token",
    "nats-token",
    "postgres-password",
    *(f"{service}-password" for service in ("dataset", "labeling", "trainer", "inference", "gateway")),
}
"""What ``deploy/new-secrets.sh`` makes."""


def main_module(service: str) -> str:
    """The module that a process of ours starts with."""
    return "gateway.main" if service == "gateway" else f"services.{service}.main"


def setting_problems(service: str, env: Mapping[str, str]) -> list[str]:
    """What is wrong with the ``INKWRIGHT_…`` variables a service is given.

    Args:
        service: a key of ``SETTINGS``.
        env: literal values; one that is only known at run time is left out, or checked by name with ``unknown_settings``.
    """
    kind = SETTINGS[service]
    problems = unknown_settings(service, env)
    known = {key.removeprefix(PREFIX).lower(): value for key, value in env.items() if key.startswith(PREFIX)}
    try:
        kind.model_validate({field: value for field, value in known.items() if field in kind.model_fields})
    except ValidationError as error:
        problems += [f"{service}: {PREFIX}{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()]
    return problems


def unknown_settings(service: str, names: Mapping[str, object]) -> list[str]:
    """The ``INKWRIGHT_…`` variables that a service would never read."""
    fields = {PREFIX + field.upper() for field in SETTINGS[service].model_fields}
    return [
        f"{service}: {name} is no setting of {SETTINGS[service].__name__}"
        for name in names
        if name.startswith(PREFIX) and name not in fields
    ]
