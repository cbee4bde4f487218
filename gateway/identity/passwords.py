"""Passwords: hashed slowly, off the event loop, and no more tries than a person needs."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.identity.domain import SignInBlocked
from libs.runtime.errors import QueueFull

_HASHER: Final = PasswordHasher()
"""argon2id with the parameters of RFC 9106 for little memory: 64 MiB, 3 passes, 4 lanes."""
_AT_ONCE: Final = 2
"""Hashes at the same time; each takes 64 MiB."""
_WAITING: Final = 32
"""Calls that may wait for their turn, those in work included; more are turned away."""
_NOBODY: Final = _HASHER.hash("nobody has this password")

FREE_TRIES: Final = 5
FIRST_WAIT_SECONDS: Final = 2.0
MAX_WAIT_SECONDS: Final = 300.0
_REMEMBERED: Final = 10_000


class Passwords:
    """Hashes and checks passwords."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._places = _WAITING

    async def hash(self, password: str) -> str:
        """What to keep of a password.

        Raises:
            QueueFull: too many wait.
        """
        async with self._slot():
            return await asyncio.to_thread(_HASHER.hash, password)

    async def fits(self, password: str, kept: str) -> bool:
        """Whether a password is the one that was kept; ``""`` (no password, no such user) takes just as long and never fits.

        Raises:
            QueueFull: too many wait.
        """
        async with self._slot():
            return await asyncio.to_thread(_fits, password, kept or _NOBODY) and bool(kept)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._places == 0:
            raise QueueFull("Too many passwords are being checked; try again in a moment.")
        self._places -= 1
        try:
            async with self._slots:
                yield
        finally:
            self._places += 1


def _fits(password: str, kept: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


class Throttle:
    """Slows down whoever guesses: after five wrong passwords for a user each further try waits, 2 s first, then twice as long, up to 5 min.

    Known to this process only: several gateways allow as many times more.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, user_id: str) -> None:
        """Let a try pass. It counts as wrong until it is forgiven: of many at the same time only the first few pass.

        Raises:
            SignInBlocked: it comes too early.
        """
        num_wrong, last = self._wrong.get(user_id, (0, 0.0))
        if num_wrong >= FREE_TRIES:
            wait = min(FIRST_WAIT_SECONDS * 2 ** (num_wrong - FREE_TRIES), MAX_WAIT_SECONDS) - (self._clock() - last)
            if wait > 0:
                raise SignInBlocked(f"Too many wrong passwords; wait {wait:.0f} seconds and try again.", seconds=round(wait))
        self._wrong[user_id] = (min(num_wrong + 1, 64), self._clock())
        self._wrong.move_to_end(user_id)
        if len(self._wrong) > _REMEMBERED:
            self._wrong.popitem(last=False)

    def forgive(self, user_id: str) -> None:
        """The password was right: forget all tries."""
        self._wrong.pop(user_id, None)
