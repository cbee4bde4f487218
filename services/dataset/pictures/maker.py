"""Mind the processes that decode images for people."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from libs.runtime.child import Child
from libs.runtime.errors import Fault, ImageUndecodable, TooLarge
from libs.runtime.full_disk import full_disk
from libs.runtime.logs import get_logger

log = get_logger()

_FAULTS: Final[Mapping[str, type[Fault]]] = {fault.reason: fault for fault in (ImageUndecodable, TooLarge)}


class PictureMaker:
    """One process, started with the first picture and again after it died; one picture at a time.

    Args:
        name: of the process, for logs.
        timeout_seconds: for one picture; what takes longer is given up with its process.
    """

    def __init__(self, name: str, *, timeout_seconds: float) -> None:
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._lock = asyncio.Lock()
        self._child: Child | None = None
        self._answers: AsyncIterator[dict[str, Any]]

    @property
    def pid(self) -> int | None:
        """Of the process; None before the first picture and after it ended."""
        return None if self._child is None else self._child.pid

    async def make(self, key: str, source: Path, target: Path, order: Mapping[str, Any]) -> None:
        """Have the file ``target`` made of the image in ``source``.

        Args:
            key: names the image in faults.
            order: see ``picture_child.obey``.

        Raises:
            ImageUndecodable: no image, a damaged one, or one that its decoder dies of.
            TooLarge: more pixels than are decoded.
            NoReadyInstance: the disk is full.
        """
        async with self._lock:
            answer = await self._ask({"source": str(source), "target": str(target), **order})
        match answer:
            case {"done": True}:
                return
            case {"errno": number, "message": message}:
                error = OSError(number, message, str(target))
                raise full_disk(error) or error
            case {"fault": reason, "message": message}:
                raise _FAULTS.get(reason, ImageUndecodable)(f"{key}: {message}", key=key, problem=message)
        raise ImageUndecodable(f"{key}: {answer['problem']} Copy the file again, or save it anew.", key=key, problem=answer["problem"])

    async def close(self) -> None:
        """End the process."""
        if self._child is not None:
            await self._child.terminate()
            self._child = None

    async def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        problem = "The decoder died of this image."
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if self._child is None:
                    argv = [sys.executable, "-m", "services.dataset.pictures.child"]
                    self._child = await Child.start(argv, name=self._name, orders=order)
                    self._answers = self._child.events()
                else:
                    await self._child.send(order)
                if (answer := await anext(self._answers, None)) is not None:
                    return answer
        except TimeoutError:
            problem = f"Decoding took longer than {self._timeout_seconds:g} seconds."
        except BaseException:
            # Its answer would be taken for the next picture's.
            await self.close()
            raise
        ended = ""
        if self._child is not None:
            self._child.kill()
            ended = str(await self._child.wait())
            self._child = None
        log.warning("picture_failed", problem=problem, ended=ended)
        return {"problem": problem}
