"""A full disk as a fault: passing trouble, which ends when somebody makes room."""

import errno

from libs.runtime.errors import NoReadyInstance


def full_disk(error: BaseException) -> NoReadyInstance | None:
    """The fault that an error stands for, ``None`` where it is no full disk (or used-up quota)."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    what = str(error.filename or "a file")
    return NoReadyInstance(f"The disk is full: {what} was not written. Free some space, then try again.", file=what)
