"""The line protocol of a reader: a path asks for the lines of that image, an empty line asks what is reading."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence


def answer(read: Callable[[str], Sequence[Mapping[str, object]]], about: Mapping[str, str]) -> None:
    """Answer until the input ends. An image that cannot be read ends the program, and with it the measurement.

    Args:
        read: from the path of an image to its lines, each ``label``, ``conf`` and ``pos`` (four corners in pixels).
        about: names and versions of what reads.
    """
    # Libraries print as well; only answers may go where answers are awaited.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin:
            path = line.rstrip("\n")
            answers.write(json.dumps(read(path) if path else about) + "\n")
            answers.flush()


def num_threads_wanted() -> int:
    """The only argument that all readers have: threads of the process, 0 for the reader's own choice."""
    return int(sys.argv[1])
