"""What the rooms of the trainer share."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from libs.runtime.db import WorkFactory
from libs.runtime.object_store import ObjectStore
from libs.runtime.trust import Trust
from services.trainer.settings import TrainerSettings
from services.trainer.store import TrainerWork

Work = WorkFactory[TrainerWork]


@dataclass(frozen=True)
class DatasetView:
    """What a task must know of a dataset before it is frozen.

    Args:
        is_ready: whether a sync of it has ever finished.
    """

    name: str
    is_ready: bool
    num_images: int
    num_labeled: int


@dataclass(frozen=True)
class VersionView:
    """What a task must know of a version that is frozen already; ``datasets`` are those it was made of, its own first."""

    name: str
    datasets: tuple[str, ...]
    num_images: int
    num_labeled: int


class Datasets(Protocol):
    """The dataset service, as far as the trainer's own process calls it."""

    async def get(self, name: str) -> DatasetView:
        """One dataset.

        Raises:
            NotFound: no such dataset.
        """
        ...

    async def get_version(self, name: str) -> VersionView:
        """One frozen version.

        Raises:
            NotFound: no such version.
        """
        ...

    async def freeze(self, name: str, *, further: Sequence[str], request_id: str) -> None:
        """Ask for a frozen version of a dataset, with further ones in it; that it is there is heard as a fact.

        The same request id never makes two.
        """
        ...


@dataclass(frozen=True)
class Deps:
    """Built once in ``main``."""

    work: Work
    settings: TrainerSettings
    datasets: Datasets
    artifacts: ObjectStore
    """Bundles under ``<digest>.inkbundle``."""
    code_version: str
    trust: Trust
    """Signs the access tokens of nodes."""
    task_created: asyncio.Event
    """Set when a task waits for a version; wakes the freezer."""
