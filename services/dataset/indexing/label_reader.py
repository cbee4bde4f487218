"""Label files of a sync: few are read here, many in a process of their own beside this one.

Parsing is most of the work of a first sync and holds the interpreter; in its own process it leaves this one to the store, the database and
everybody who calls meanwhile. The child gets and gives pickles behind their length (8 bytes, big-endian); it is ours and hears nobody else.
"""

import asyncio
import contextlib
import gc
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, Final

from libs.runtime.child import tied_to_this_process
from libs.runtime.logs import get_logger
from services.dataset.indexing.stored_labels import StoredLabels, stored_labels
from services.dataset.label_file import LabelFile, labels_from_bytes

log = get_logger()

FEW: Final = 1_000
"""Files that are read here, for whom a process is not worth its start."""
_LENGTH_BYTES: Final = 8
_PIPE_BYTES: Final = 1 << 20
"""As much as Linux gives: a question and its answer fit in, and neither side waits for the other."""


class LabelReader:
    """The reader of one sync; ``close`` it."""

    def __init__(self) -> None:
        self._num_read = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._is_alone = False
        # Threads that stand at the child's pipes: the event loop may be busy for longer than the child needs for its next files. One asks
        # while the other waits for answers, so that the child finds its next files as soon as it is done.
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="label-reader-asks")
        self._hearing = ThreadPoolExecutor(1, thread_name_prefix="label-reader-hears")

    async def read(self, files: Sequence[LabelFile]) -> list[StoredLabels]:
        """What each says, in their order. Should the child die, the files are read here, now and from then on."""
        if not files:
            return []
        self._num_read += len(files)
        if self._num_read > FEW and not self._is_alone:
            try:
                asked = self._asking.submit(self._ask, files)
                return await asyncio.wrap_future(self._hearing.submit(self._hear, asked))
            except (OSError, EOFError) as error:
                self._is_alone = True
                log.warning("label_reader_died", exc_info=error)
        return await asyncio.to_thread(lambda: [stored_labels(labels_from_bytes(file)) for file in files])

    async def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
        for thread in (self._asking, self._hearing):
            await asyncio.to_thread(thread.shutdown, cancel_futures=True)
        if self._child is not None:
            with self._child:
                self._child = None

    def _ask(self, files: Sequence[LabelFile]) -> IO[bytes]:
        """Gives where the answer comes.

        Raises:
            OSError: the child is not there any more.
        """
        if self._child is None:
            argv = tied_to_this_process([sys.executable, "-m", "services.dataset.indexing.label_reader"])
            self._child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=_PIPE_BYTES)
        asked, answers = self._child.stdin, self._child.stdout
        assert asked is not None
        assert answers is not None
        asked.write(_framed(list(files)))
        asked.flush()
        return answers

    def _hear(self, asked: "Future[IO[bytes]]") -> list[StoredLabels]:
        """
        Raises:
            OSError, EOFError: the child is not there any more.
        """
        answer: list[StoredLabels] = _read(asked.result())
        return answer


def _read(pipe: IO[bytes]) -> Any:
    """
    Raises:
        EOFError: nothing more comes.
    """
    length = int.from_bytes(pipe.read(_LENGTH_BYTES))
    data = pipe.read(length)
    if not length or len(data) < length:
        raise EOFError("the other side of the pipe is gone")
    return pickle.loads(data)


def _framed(value: Any) -> bytes:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(_LENGTH_BYTES) + data


def main(asked: IO[bytes], answers: IO[bytes]) -> None:
    """The child: until nobody asks any more."""
    with contextlib.suppress(EOFError):
        while True:
            answers.write(_framed([stored_labels(labels_from_bytes(file)) for file in _read(asked)]))
            answers.flush()


if __name__ == "__main__":
    # As services do it: collections need not walk over what was loaded.
    gc.freeze()
    main(sys.stdin.buffer, sys.stdout.buffer)
