"""Which folders of this machine data sets may lie in (``INKWRIGHT_ROOTS``)."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from libs.runtime.errors import InvalidInput, NotFound


class PathNotFound(NotFound):
    """No folder at this path."""

    reason = "PATH_NOT_FOUND"


class OutsideRoots(InvalidInput):
    """A path, or what it leads to, lies outside the folders the operator allowed."""

    reason = "OUTSIDE_ROOTS"


class AllowedRoots:
    """The allowed folders, links resolved."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self.roots: tuple[Path, ...] = tuple(root.expanduser().resolve() for root in roots)

    @classmethod
    def from_setting(cls, setting: str) -> Self:
        """From colon-separated folders; empty parts are left out."""
        return cls(Path(part) for part in setting.split(":") if part)

    def contains(self, path: Path) -> bool:
        """Whether an already resolved path is a root or lies below one."""
        return any(path.is_relative_to(root) for root in self.roots)

    def check(self, path: Path) -> Path:
        """Follow every link of ``path`` and return where it leads; nothing needs to exist there.

        Raises:
            OutsideRoots: it leads outside.
        """
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidInput(f"{str(path)[:300]!r} is no path that can be followed: {error}.", path=str(path)[:300]) from error
        if not self.contains(real):
            allowed = ", ".join(map(str, self.roots)) or "none"
            raise OutsideRoots(
                f"{path} lies outside the folders Inkwright may read ({allowed}); move it there, or add its folder to INKWRIGHT_ROOTS "
                "(colon-separated) and start Inkwright again.",
                path=path,
                roots=allowed,
            )
        return real

    def resolve(self, path_or_url: str) -> Path:
        """The folder that a plain absolute path or a ``file://`` URL names, links resolved.

        Raises:
            OutsideRoots: it lies outside. Said before anything about what exists there.
            PathNotFound: there is no folder.
            InvalidInput: neither an absolute path nor a ``file://`` URL of this machine.
        """
        real = self._named(path_or_url)
        # Not Path.is_dir: it raises for a name that is too long.
        if not os.path.isdir(real):
            shown = path_or_url[:300]
            raise PathNotFound(f"There is no folder {shown}; check the spelling, and that this machine has it.", path=shown)
        return real

    def make(self, path_or_url: str) -> Path:
        """``resolve``, the folder and those above it made where they are missing.

        Raises:
            OutsideRoots: it lies outside.
            InvalidInput: neither an absolute path nor a URL, or it cannot be made.
        """
        real = self._named(path_or_url)
        try:
            real.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            shown = path_or_url[:300]
            raise InvalidInput(f"The folder {shown} cannot be made ({error.strerror or error}); give another one.", path=shown) from error
        return real

    def _named(self, path_or_url: str) -> Path:
        text = path_or_url
        if text.startswith("file:"):
            url = urlsplit(text)
            if url.netloc not in ("", "localhost"):
                raise InvalidInput(f"{text[:300]!r} names another machine; use file:///path for this one.", path=text[:300])
            text = unquote(url.path)
        if not text.startswith("/") or "\0" in text:
            raise InvalidInput(
                f"{path_or_url[:300]!r} is no absolute path; give one that begins with / or file:///.", path=path_or_url[:300]
            )
        return self.check(Path(text))
