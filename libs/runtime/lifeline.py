"""Starts a program that cannot outlive its parent (Linux): ``python -I -S lifeline.py PARENT_PID -- ARGV…``.

A launcher and not a ``preexec_fn``, because code between fork and exec deadlocks beside gRPC's threads. It imports nothing
of ours and is run by path, so that it starts in about 10 ms; exec then puts the program in its place, same pid.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Tie this process to its parent, then become the program; returns only on failure, with an exit code."""
    parent_pid, dashes, *argv = arguments
    if dashes != "--" or not argv:
        sys.stderr.write("usage: lifeline.py PARENT_PID -- ARGV...\n")
        return 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.stderr.write(f"lifeline: prctl: {os.strerror(ctypes.get_errno())}\n")
        return 2
    # The parent may have died before the line above took effect.
    if os.getppid() != int(parent_pid):
        return 2
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"lifeline: {argv[0]}: {error.strerror}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
