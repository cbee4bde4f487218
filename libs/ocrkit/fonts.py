"""The fonts of this machine and the characters each of them really has."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Literal

from PIL import ImageFont

from libs.ocrkit.charset import BASE_ALPHABET

__all__ = ["EM_PX", "Face", "Part", "drawable", "faces_of", "installed_faces", "load_face"]

Part = Literal["training", "check"]

EM_PX = 64
"""Text is drawn at this size and then reduced, so that hinting and the pixel grid of the font leave no trace."""

_LOOK_PX = 16
"""Large enough to tell a character from the box of an unknown one, and quick to draw."""

_FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".fonts",
    Path.home() / ".local/share/fonts",
    Path("/System/Library/Fonts"),
    Path("/Library/Fonts"),
    Path.home() / "Library/Fonts",
    Path("C:/Windows/Fonts"),
    Path.home() / "AppData/Local/Microsoft/Windows/Fonts",
)
_PACKAGES = ("font-", "fontpkg-")
_SUFFIXES = (".otf", ".ttc", ".ttf")
_MAX_SYSTEM_FILES = 300
_VARIATIONS = ("Regular", "Medium", "Bold", "Italic", "Bold Italic")
_STYLE_WORDS = frozenset({"bold", "book", "condensed", "demi", "light", "medium", "regular", "semibold", "semicondensed"})
_UNUSUAL = ("thin", "hairline", "extralight", "ultralight", "extrabold", "ultrabold", "black", "heavy")
_NOT_FOR_TEXT = ("barcode", "braille", "dings", "emoji", "icon", "lastresort", "math", "symbol")
_TEXT = frozenset("AMRamr059")
_UNASSIGNED = "\U0010ffff"


@dataclass(frozen=True)
class Face:
    """One style of a family.

    Args:
        family: name of the typeface, the same for all its styles.
        path: of the font file; of a collection the first face is meant.
        variation: named style of a variable font; None for a plain one.
        italic: it is slanted.
    """

    family: str
    path: Path
    variation: str | None
    italic: bool


@lru_cache(maxsize=2)
def faces_of(part: Part) -> tuple[Face, ...]:
    """The faces that one part of the replay lines is set in; no family is in both parts, unless there is only one.

    Families are dealt out from the one with the most characters down, two to training for each to the check, so that rare signs are
    in both where the machine has them twice.
    """
    faces = installed_faces()
    first = {face.family: face for face in reversed(faces)}
    families = sorted(first, key=lambda family: (-len(drawable(first[family], frozenset(BASE_ALPHABET))), family))
    if len(families) < 2:
        return faces
    chosen = {family for index, family in enumerate(families) if (index % 3 == 1) == (part == "check")}
    return tuple(face for face in faces if face.family in chosen)


@lru_cache(maxsize=1)
def installed_faces() -> tuple[Face, ...]:
    """Every usable face of the Python font packages and of the font folders of the system and the user, in a fixed order.

    Left out are hairline and black weights, fonts without Latin letters and digits, fonts of pictures, and files that do not open.
    """
    faces = {(face.path.stem, face.variation): face for path in (*_of_system(), *_packaged()) for face in _faces_in(path)}
    return tuple(sorted(faces.values(), key=lambda face: (face.family, face.path.name, face.variation or "")))


@lru_cache(maxsize=512)
def load_face(face: Face) -> ImageFont.FreeTypeFont:
    """The font at ``EM_PX``; without shaping, so that each character is one glyph on every machine."""
    font = _open(face.path, EM_PX)
    if face.variation is not None:
        font.set_variation_by_name(face.variation)
    return font


@lru_cache(maxsize=1024)
def drawable(face: Face, characters: frozenset[str]) -> frozenset[str]:
    """Those of the characters that the face draws: not as the box of an unknown one, and not as nothing."""
    return _drawable(_open(face.path, _LOOK_PX), characters)


def _open(path: Path, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)


def _drawable(font: ImageFont.FreeTypeFont, characters: frozenset[str]) -> frozenset[str]:
    unknown = _look(font, _UNASSIGNED)
    return frozenset(
        character for character in characters if character == " " or ((look := _look(font, character)) is not None and look != unknown)
    )


def _look(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes] | None:
    mask = font.getmask(character, mode="L")
    return (mask.size, bytes(mask)) if mask.getbbox() is not None else None


def _packaged() -> list[Path]:
    found = {
        Path(str(distribution.locate_file(file)))
        for distribution in distributions()
        if distribution.name.lower().replace("_", "-").startswith(_PACKAGES)
        for file in distribution.files or ()
        if file.suffix.lower() in _SUFFIXES
    }
    return sorted(path for path in found if path.is_file())


def _of_system() -> list[Path]:
    found = {path for folder in _FOLDERS if folder.is_dir() for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES}
    # Of a large collection any sample does, but not the first of the alphabet: those are styles of a few families.
    shuffled = sorted(found, key=lambda path: (hashlib.sha256(path.name.encode()).digest(), path))
    return shuffled[:_MAX_SYSTEM_FILES]


def _faces_in(path: Path) -> Iterator[Face]:
    if any(word in path.name.lower() for word in _NOT_FOR_TEXT):
        return
    try:
        # A font with the bitmaps of emoji has no such size, and one that was left half written does not open.
        font = _open(path, _LOOK_PX)
        if _drawable(font, _TEXT) != _TEXT:
            return
    except OSError:
        return
    family, style = (name or "" for name in font.getname())
    for variation in _variations(font):
        named = f"{family} {variation or style}".lower()
        if not any(word in named.replace(" ", "").replace("-", "") for word in _UNUSUAL):
            plain = " ".join(word for word in family.split() if word.lower() not in _STYLE_WORDS)
            yield Face(plain or family, path, variation, "italic" in f"{named} {style.lower()}" or "oblique" in named)


def _variations(font: ImageFont.FreeTypeFont) -> list[str | None]:
    try:
        names = [name.decode() if isinstance(name, bytes) else name for name in font.get_variation_names()]
    except OSError:
        return [None]
    return [name for name in _VARIATIONS if name in names]
