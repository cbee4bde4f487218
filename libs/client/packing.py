"""Files of a person's disk, packed for one upload each: an image travels with its label file."""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACK_BYTES: Final = 128 * 1024 * 1024
PACK_FILES: Final = 2_000
ALONE: Final = frozenset({".zip", ".pdf", ".tif", ".tiff"})
"""They are sent as they are."""

_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Parcel:
    """What is sent at once.

    Args:
        files: each with the path it gets in the dataset's folder.
        is_packed: in a ZIP; else it is one file.
    """

    files: Sequence[tuple[Path, str]]
    is_packed: bool


def found(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Files as they were named, and all files below folders, hidden ones left out; in order of the paths they get.

    Raises:
        FileNotFoundError: nothing is there.
    """
    files: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(2, "there is no such file or folder", str(path))
        if path.is_file():
            files.setdefault(path.name, path)
            continue
        for file in path.rglob("*"):
            name = file.relative_to(path)
            if file.is_file() and not any(part.startswith(".") for part in name.parts):
                files.setdefault(name.as_posix(), file)
    return [(files[name], name) for name in sorted(files, key=lambda name: (name.rpartition(".")[0], name))]


def parcels(files: Sequence[tuple[Path, str]]) -> Iterator[Parcel]:
    """Everything in parcels of a moderate size; files with one name but for the ending stay together."""
    if len(files) == 1 and "/" not in files[0][1]:
        yield Parcel(files, is_packed=False)
        return
    pack: list[tuple[Path, str]] = []
    size_bytes = 0
    for file, name in files:
        if file.suffix.casefold() in ALONE:
            yield Parcel([(file, name)], is_packed=False)
            continue
        is_new_name = not pack or pack[-1][1].rpartition(".")[0] != name.rpartition(".")[0]
        if pack and is_new_name and (size_bytes + file.stat().st_size > PACK_BYTES or len(pack) >= PACK_FILES):
            yield Parcel(pack, is_packed=True)
            pack, size_bytes = [], 0
        pack.append((file, name))
        size_bytes += file.stat().st_size
    if pack:
        yield Parcel(pack, is_packed=True)


def write_pack(parcel: Parcel, path: Path) -> None:
    """A ZIP of its files; the same bytes each time, so that an upload of it can be taken up again."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as pack:
        for file, name in parcel.files:
            member = zipfile.ZipInfo(name, _LONG_AGO)
            member.file_size = file.stat().st_size
            with file.open("rb") as source, pack.open(member, "w") as packed:
                while piece := source.read(1 << 20):
                    packed.write(piece)
