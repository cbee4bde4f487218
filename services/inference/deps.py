"""What the rooms of inference share."""

from collections.abc import Callable
from dataclasses import dataclass

from libs.runtime.secrets import InstallationKey
from services.inference.settings import InferenceSettings
from services.inference.store import Work


@dataclass(frozen=True)
class Deps:
    """Built once in ``main``.

    Args:
        wake: to be called after each commit that changes what is wanted.
    """

    work: Work
    settings: InferenceSettings
    key: InstallationKey
    wake: Callable[[], None]
