"""Places in our own processes where a kill hurts most. Nothing of this is in the product: a test's own ``sitecustomize`` loads it.

A point is armed by a file of its name in the folder that ``INKWRIGHT_CHAOS`` names; the first process that comes by takes the file
away and kills itself with SIGKILL, at that very line.
"""

import importlib
import os
import signal
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

POINTS = (
    ("labeling", "commit-publish"),
    ("dataset", "commit-publish"),
    ("labeling", "publish-mark"),
    ("dataset", "publish-mark"),
    ("dataset", "write-answer"),
    ("labeling", "effect-ack"),
    ("dataset", "effect-ack"),
    ("trainer", "result-record"),
)
"""Service and place: between commit and publish, publish and its mark, label file and its acknowledgement, a fact's effect and its
acknowledgement, a node's result and its record."""


def install(service: str, folder: Path) -> None:
    """Make the points of a service real in this process."""

    def die_at(point: str) -> None:
        try:
            (folder / f"{service}.{point}").rename(folder / f"{service}.{point}.taken")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def then_die(function: Callable[P, Awaitable[T]], point: str) -> Callable[P, Awaitable[T]]:
        @wraps(function)
        async def replaced(*args: P.args, **kwargs: P.kwargs) -> T:
            result = await function(*args, **kwargs)
            die_at(point)
            return result

        return replaced

    from libs.runtime.bus import Bus
    from libs.runtime.db import UnitOfWork
    from libs.runtime.hearing import Consumer
    from libs.runtime.local_folder import LocalFolder

    commit = UnitOfWork.commit

    async def commit_then_die(self: UnitOfWork) -> None:
        tells = bool(self._told)
        await commit(self)
        if tells:
            die_at("commit-publish")

    patched: Any = UnitOfWork
    patched.commit = commit_then_die
    for owner, name, point in (
        (Bus, "publish", "publish-mark"),
        (Consumer, "_handle", "effect-ack"),
        (LocalFolder, "write_new", "write-answer"),
        (LocalFolder, "replace", "write-answer"),
    ):
        setattr(owner, name, then_die(getattr(owner, name), point))
    if service == "trainer":
        worker: Any = importlib.import_module("services.trainer.worker")
        record = worker.succeed_node

        async def die_then_record(*args: Any, **kwargs: Any) -> Any:
            die_at("result-record")
            return await record(*args, **kwargs)

        worker.succeed_node = die_then_record
